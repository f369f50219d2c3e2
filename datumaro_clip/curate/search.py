"""Find the items of a dataset most similar to a text, to a picture, or to one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datumaro_clip.curate.columns import Columns, Verdicts
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.tools import Tool
from datumaro_clip.errors import OptionError
from datumaro_clip.options import Cosine, File, Option, Text, Values, Whole
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray

OPTIONS = (
    Option("query", Text(metavar="TEXT"), None, "search for this text"),
    Option("image", File(), None, "search for pictures like this one"),
    Option("item", Text(metavar="ID[@SUBSET]"), None, "search for pictures like this item of the dataset"),
    Option("k", Whole(at_least=1, metavar="K"), 10, "most hits"),
    Option("min-score", Cosine(), -1.0, "least similarity of a hit"),
)


def find_similar(columns: Columns, options: Values) -> Verdicts:
    """Rank the items by cosine similarity to the query, and drop all but the best ``k``."""
    verdicts = Verdicts(columns.keys)
    some = len(columns.vectors) > 0
    verdicts.set(range(len(columns.items)), action="drop", reason="no_hit" if some else "no_picture")
    if not some:
        return verdicts
    question = _question(columns, options)
    [found], [scores] = top_k(question[None], columns.vectors, min(options.k, len(columns.vectors)))
    rows = columns.rows[found]
    verdicts.set(rows, score=scores, threshold=options.min_score)
    marks = [{"clip_score": score, "clip_rank": rank} for rank, score in enumerate(scores.tolist())]
    good = scores >= options.min_score
    ranks = np.flatnonzero(good)
    is_hit = np.isin(np.arange(len(columns.vectors)), found[good])
    least = options.min_score if options.min_score > -1 else None
    verdicts.measured("cosine similarity with the query", columns.vectors @ question, is_hit, least, 1.0)
    verdicts.set(rows[good], action="keep", reason="hit", rank=ranks, attributes=[marks[rank] for rank in ranks])
    return verdicts


def _question(columns: Columns, options: Values) -> FloatArray:
    """Return the vector (D,) of the query."""
    if options.query is not None:
        return np.asarray(columns.model.text_vectors([options.query])[0])
    if options.image is not None:
        return columns.model.picture_vector(options.image)
    row = _row_of(options.item, columns.items)
    if not columns.has_vector[row]:
        raise OptionError(f"item {options.item!r} has no picture to search with")
    return np.asarray(columns.vectors[np.searchsorted(columns.rows, row)])


def _row_of(name: str, items: Sequence[Item]) -> int:
    """Return the row of the item named ``id`` or ``id@subset``."""
    rows = [row for row, item in enumerate(items) if name in (item.key.id, str(item.key))]
    if len(rows) != 1:
        many = "no item" if not rows else f"{len(rows)} items"
        raise OptionError(f"{many} called {name!r}; write ID@SUBSET")
    return rows[0]


def _check(values: Values) -> None:
    if sum(value is not None for value in (values.query, values.image, values.item)) != 1:
        raise OptionError("give one of --query TEXT, --image FILE and --item ID[@SUBSET]")


def _check_items(values: Values, items: Sequence[Item], classes: Sequence[str]) -> None:
    if values.item is not None:
        _row_of(values.item, items)


TOOL = Tool(
    "clip_search",
    find_similar,
    OPTIONS,
    "Keeps the pictures most similar to a text, to a picture, or to an item of the dataset, best first.\n\n"
    "Each hit has its cosine similarity in the attribute 'clip_score' and its rank in 'clip_rank'.",
    ('--query "a dog on a beach" -k 20',),
    check=_check,
    check_items=_check_items,
    takes_objects=True,
    selects=True,
    nothing="no picture is similar enough",
)
