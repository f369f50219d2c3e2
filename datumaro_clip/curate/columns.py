"""A dataset in columns: the input of the curation tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.item import Item
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.texts import fill_prompt
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Crew
    from datumaro_clip.curate.run_model import RunModel

IntArray = npt.NDArray[np.int64]
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
