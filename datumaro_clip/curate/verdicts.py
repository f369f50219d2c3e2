"""What a tool says of items and annotations, in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Decision, Measure
from datumaro_clip.vectors import ItemKey

Rows = npt.NDArray[np.int64] | npt.NDArray[np.bool_] | Sequence[int]


class Verdicts:
    """One verdict an item, ``keep`` to begin with, and more about its annotations.

    Parameters
    ----------
    keys : sequence of ItemKey
        The N items.

    Attributes
    ----------
    notes : list of str
        Findings that no single item carries.
    measures : list of Measure
        How the scores are spread that the verdicts rest on.
    """

    def __init__(self, keys: Sequence[ItemKey]) -> None:
        self.keys = keys
        self.notes: list[str] = []
        self.measures: list[Measure] = []
        self._columns: dict[str, list[Any]] = {"action": ["keep"] * len(keys)}
        self._parts: dict[int, list[dict[str, Any]]] = {}

    def set(self, rows: Rows, **fields: Any) -> None:
        """Fill in fields of :class:`~datumaro_clip.curate.decisions.Decision`.

        Parameters
        ----------
        rows : numpy.ndarray or sequence of int
            Indices of M items, or a mask (N,).
        **fields
            One value for all, or an array or a list of M values. Another item, as a representative, is its row.
        """
        for place, row in enumerate(_indices(rows)):
            for name, value in fields.items():
                column = self._columns.setdefault(name, [None] * len(self.keys))
                column[row] = value[place] if isinstance(value, np.ndarray | list) else value

    def about_annotation(self, row: int, annotation: int, **fields: Any) -> None:
        """Add a verdict about an annotation of an item; ``action`` and the like in ``fields``."""
        self._parts.setdefault(row, []).append({"annotation": annotation, **fields})

    def measured(
        self,
        title: str,
        values: npt.ArrayLike,
        kept: npt.ArrayLike,
        threshold: float | None = None,
        most: float | None = None,
    ) -> None:
        """Say how scores are spread; see :class:`~datumaro_clip.curate.decisions.Measure`.

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

    def get(self, name: str) -> list[Any]:
        """A field of all N items, None where nothing is said."""
        return self._columns.get(name, [None] * len(self.keys))

    def decisions(self) -> list[Decision]:
        """The verdicts item by item, those about annotations behind their item's; numbers to six digits."""
        return list(self._decisions())

    def _decisions(self) -> Iterator[Decision]:
        seen: Counter[ItemKey] = Counter()
        for row, key in enumerate(self.keys):
            fields = {name: column[row] for name, column in self._columns.items()}
            for each in (fields, *self._parts.get(row, ())):
                yield self._decision(key, {**each, "occurrence": seen[key] or None})
            seen[key] += 1

    def _decision(self, key: ItemKey, fields: dict[str, Any]) -> Decision:
        told = {name: _plain(value) for name, value in fields.items() if value is not None}
        for name in {"representative", "resembles"} & told.keys():
            told[name] = self.keys[told[name]]
        return Decision(key, **told)


def _indices(rows: Rows) -> list[int]:
    found = np.asarray(rows)
    indices: list[int] = (np.flatnonzero(found) if found.dtype == np.bool_ else found).tolist()
    return indices


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's, a number to the six digits that all of a float32 score is worth."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return round(value, 6) if isinstance(value, float) else value
