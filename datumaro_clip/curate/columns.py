"""What a curation tool gets and returns: a dataset in columns, and verdicts on its items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Decision, Measure, plain
from datumaro_clip.curate.item import Item
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.texts import fill_prompt
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Crew
    from datumaro_clip.curate.run_model import RunModel

IntArray = npt.NDArray[np.int64]
Rows: TypeAlias = IntArray | npt.NDArray[np.bool_] | Sequence[int]
# Pictures of a task.
_CHUNK = 16
_Seen = TypeVar("_Seen")


class Texts(NamedTuple):
    """T texts about pictures, or about boxes in them.

    Attributes
    ----------
    vectors : numpy.ndarray
        Shape (T, D), float32 unit rows.
    owner : numpy.ndarray
        Shape (T,), int64, ascending: the row of :attr:`Columns.vectors` that each text is about.
    annotation : numpy.ndarray
        Shape (T,), int64: the index of each text's annotation among its item's.
    scores : numpy.ndarray
        Shape (T,), float64: cosine similarity with the picture or box, from -1 to 1.
    """

    vectors: FloatArray
    owner: IntArray
    annotation: IntArray
    scores: npt.NDArray[np.float64]


NO_TEXTS = Texts(np.empty((0, 0), np.float32), *(np.empty(0, np.int64),) * 2, np.empty(0))


def _threads() -> Crew:
    # Imported here: a command that only prints its help would wait for it.
    from datumaro_clip.curate.near.threads import workers

    return workers


@dataclass(frozen=True, eq=False)
class Columns:
    """N items, and M vectors of their pictures, or of boxes in them.

    Attributes
    ----------
    items : sequence of Item
        N items.
    classes : sequence of str
        The names of the dataset's C classes.
    vectors : numpy.ndarray
        Shape (M, D), float32 unit rows; M = 0 where no vectors were wanted, or nothing could be embedded.
    rows : numpy.ndarray
        Shape (M,), int64, ascending: the item that each vector belongs to.
    texts : Texts
        The wanted texts.
    model : RunModel
        Computes the vectors of classes and queries.
    protected : frozenset of str
        Subsets of which nothing is dropped.
    crew : callable
        Makes the pool that looks at pictures and compares them; threads where omitted.
    """

    items: Sequence[Item]
    classes: Sequence[str]
    vectors: FloatArray
    rows: IntArray
    model: RunModel
    texts: Texts = NO_TEXTS
    protected: frozenset[str] = field(default_factory=frozenset)
    crew: Crew = field(default_factory=_threads)

    @cached_property
    def keys(self) -> list[ItemKey]:
        """Id and subset of each item."""
        return [item.key for item in self.items]

    @cached_property
    def has_vector(self) -> npt.NDArray[np.bool_]:
        """Which items have a vector, (N,)."""
        found = np.zeros(len(self.items), np.bool_)
        found[self.rows] = True
        return found

    @cached_property
    def label(self) -> IntArray:
        """The label of each item as an index into ``classes``, (N,), -1 for none or several.

        :meth:`~datumaro_clip.curate.item.Item.class_counts` explains the rule.
        """
        return np.array([self._number.get(item.label or "", -1) for item in self.items], np.int64)

    @cached_property
    def stratum(self) -> IntArray:
        """The most frequent class of each item's labels, (N,), of several the first; -1 for items without a label."""
        number = self._number
        counted = [
            {number[name]: n for name, n in item.class_counts().items() if name in number} for item in self.items
        ]
        return np.array([min(each, key=lambda n: (-each[n], n), default=-1) for each in counted], np.int64)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(self.classes)}

    def class_vectors(self, names: Sequence[str], templates: Sequence[str]) -> FloatArray:
        """Embed C classes, (C, D) unit rows: the mean direction of each one's prompts, with ``{}`` for its name."""
        prompts = [fill_prompt(template, name) for name in names for template in templates]
        embedded = self.model.text_vectors(prompts)
        return unit_rows(embedded.reshape(len(names), len(templates), -1).mean(axis=1))


def map_pictures(
    items: Iterable[Item], look: Callable[[ImageRequest], _Seen], crew: Crew | None = None
) -> Iterator[_Seen]:
    """Apply a function to each item's picture, in the pool that ``crew`` makes; the results in the items' order.

    Pictures are requested in the caller's thread, a few ahead, since a video is read in order by one reader; a request
    for a picture that is missing raises where it is fetched.
    """
    with (crew or _threads())() as pool:
        yield from pool.map(look, (item.request() for item in items), chunksize=_CHUNK)


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
                fields = {name: plain(value) for name, value in each.items() if value is not None}
                for name in {"representative", "resembles"} & fields.keys():
                    fields[name] = self.keys[fields[name]]
                made.append(Decision(key, **fields, occurrence=seen[key] or None))
            seen[key] += 1
        return made
