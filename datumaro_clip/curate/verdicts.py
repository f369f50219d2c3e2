"""The verdicts of a tool about items and annotations, in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Decision, Measure, plain
from datumaro_clip.vectors import ItemKey

Rows = npt.NDArray[np.int64] | npt.NDArray[np.bool_] | Sequence[int]


class Verdicts:
    """A verdict on each item, ``keep`` at first, and verdicts on annotations.

    Parameters
    ----------
    keys : sequence of ItemKey
        The N items.

    Attributes
    ----------
    notes : list of str
        Findings about several items.
    measures : list of Measure
        The distributions of the scores that decided.
    """

    def __init__(self, keys: Sequence[ItemKey]) -> None:
        self.keys = keys
        self.notes: list[str] = []
        self.measures: list[Measure] = []
        self._columns: dict[str, list[Any]] = {"action": ["keep"] * len(keys)}
        self._parts: dict[int, list[dict[str, Any]]] = {}

    def set(self, rows: Rows, **fields: Any) -> None:
        """Set fields of :class:`~datumaro_clip.curate.decisions.Decision`.

        Parameters
        ----------
        rows : numpy.ndarray or sequence of int
            Indices of M items, or a mask (N,).
        **fields
            One value for all, or an array or a list of M values. A representative is given by its row.
        """
        found = np.asarray(rows)
        for place, row in enumerate((np.flatnonzero(found) if found.dtype == np.bool_ else found).tolist()):
            for name, value in fields.items():
                column = self._columns.setdefault(name, [None] * len(self.keys))
                column[row] = value[place] if isinstance(value, np.ndarray | list) else value

    def about_annotation(self, row: int, annotation: int, **fields: Any) -> None:
        """Add a verdict on an annotation of an item, with the ``fields`` of :meth:`set`."""
        self._parts.setdefault(row, []).append({"annotation": annotation, **fields})

    def measured(
        self,
        title: str,
        values: npt.ArrayLike,
        kept: npt.ArrayLike,
        threshold: float | None = None,
        most: float | None = None,
    ) -> None:
        """Add the distribution of scores; see :class:`~datumaro_clip.curate.decisions.Measure`.

        Parameters
        ----------
        title : str
        values : array_like
            M scores.
        kept : array_like
            Which of them belong to what stays, (M,) of bool.
        threshold, most : float, optional
        """
        scores, mask = np.asarray(values, np.float64).round(6), np.asarray(kept, np.bool_)
        parts = tuple(scores[mask].tolist()), tuple(scores[~mask].tolist())
        self.measures.append(Measure(title, *parts, None if threshold is None else float(threshold), most))

    def decisions(self) -> list[Decision]:
        """Return the verdicts item by item, those on annotations after their item's; numbers to six digits."""
        made = []
        seen: Counter[ItemKey] = Counter()
        for row, key in enumerate(self.keys):
            item = {name: column[row] for name, column in self._columns.items()}
            for each in (item, *self._parts.get(row, ())):
                told = {name: plain(value) for name, value in each.items() if value is not None}
                for name in {"representative", "resembles"} & told.keys():
                    told[name] = self.keys[told[name]]
                made.append(Decision(key, **told, occurrence=seen[key] or None))
            seen[key] += 1
        return made
