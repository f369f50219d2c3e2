"""The curation tools as Python functions: items, files or vectors in, decisions out; no Datumaro needed.

Each takes the options of the plugin of its name, dashes as underscores: ``align(items, keep_top=0.3)`` is
``clip_align`` with ``--keep-top 0.3``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Decision, DecisionLog, as_record
from datumaro_clip.curate.groups import neighbour_lists, star_groups
from datumaro_clip.curate.item import Item, ItemCaption
from datumaro_clip.curate.near.threads import Crew, workers
from datumaro_clip.curate.run import decide, read_values
from datumaro_clip.curate.tools import Tool, tool_named
from datumaro_clip.errors import InvalidVectorError, OptionError
from datumaro_clip.images import ImageLike
from datumaro_clip.images.gallery import Tile, gallery
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.options import Cosine, Values
from datumaro_clip.report import write_report
from datumaro_clip.similarity import pairs_above
from datumaro_clip.system.frames import to_frame
from datumaro_clip.vectors import Embedding, ItemKey, VectorSpace, unit_rows

log = logging.getLogger(__name__)

# Groups that a repr names one by one.
_SHOWN = 5
_latest: list[DecisionLog] = []

#: Items; paths of pictures; or vectors, (N, D).
Data: TypeAlias = Iterable[Item | str | os.PathLike[str]] | npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class DuplicateGroup:
    """Items that repeat one another.

    Attributes
    ----------
    keeper : ItemKey
        The one that stays.
    members : tuple of Decision
        The others, each with its reason, score and detail.
    pictures : mapping
        Functions that read the items' pictures, for a notebook.
    """

    keeper: ItemKey
    members: tuple[Decision, ...]
    pictures: Mapping[ItemKey, Callable[[], ImageLike]] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        reasons = Counter(one.reason for one in self.members)
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        return f"DuplicateGroup({str(self.keeper)!r} stays; {counts})"

    def _repr_html_(self) -> str:
        return gallery(repr(self), self.tiles(), 1 + len(self.members))

    def tiles(self) -> Iterator[Tile]:
        """Yield the item that stays and the others, as a notebook shows them."""
        yield Tile(self.keeper.id, "stays", self.pictures.get(self.keeper))
        yield from (one.tile(self.pictures.get(one.key)) for one in self.members)


class DuplicateGroups(list[DuplicateGroup]):
    """Groups of duplicates: a list that notebooks show with pictures."""

    def __repr__(self) -> str:
        shown = "".join(f"\n  {group!r}" for group in self[:_SHOWN])
        more = f"\n  … and {len(self) - _SHOWN} more" if len(self) > _SHOWN else ""
        return f"{self._title()}{':' if self else ''}{shown}{more}"

    def _repr_html_(self) -> str:
        pictures = sum(1 + len(group.members) for group in self)
        return gallery(self._title(), (tile for group in self for tile in group.tiles()), pictures)

    def _title(self) -> str:
        return f"{len(self)} groups of duplicates, {sum(len(group.members) for group in self)} copies"

    def to_pandas(self) -> Any:
        """Return the copies as a ``pandas.DataFrame``, one a row; ``representative`` names the item that stays.

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        records = ({**as_record(one), "representative": str(group.keeper)} for group in self for one in group.members)
        return to_frame(records, ("id", "subset", "reason", "score", "representative"))


def clean(data: Data, **options: Any) -> DecisionLog:
    """Find broken, tiny, oddly shaped and blank pictures, and captions of no use; see ``clip_clean``."""
    return _decided("clip_clean", data, options)


def align(data: Data, *, texts: npt.ArrayLike | None = None, **options: Any) -> DecisionLog:
    """Find captions, labels or boxes that do not fit their pictures; see ``clip_align``.

    Parameters
    ----------
    data : iterable of Item, or numpy.ndarray
    texts : array_like, optional
        With vectors as ``data``: one of each item's text, (N, D).
    **options
        Of ``clip_align``.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = np.eye(2)
    >>> align(vectors, texts=vectors[::-1], min_score=0.5).counts()
    Counter({'drop mismatch': 2})
    """
    if texts is None:
        return _decided("clip_align", data, options)
    items, options = _items(data, options)
    rows = unit_rows(texts)
    if len(rows) != len(items):
        raise InvalidVectorError(f"{len(rows)} texts for {len(items)} items")
    with_texts = [
        replace(item, captions=(ItemCaption("", 0, row),), annotation_count=1)
        for item, row in zip(items, rows, strict=True)
    ]
    return _decided("clip_align", with_texts, options)


def sample(data: Data, **options: Any) -> DecisionLog:
    """Choose a part that represents the whole; see ``clip_sample``.

    Examples
    --------
    >>> import numpy as np
    >>> sample(np.eye(5), count=2).counts()
    Counter({'drop not_picked': 3, 'keep picked': 2})
    """
    return _decided("clip_sample", data, options)


def classify(data: Data, labels: Sequence[str] = (), **options: Any) -> DecisionLog:
    """Label each picture with the class whose prompts it resembles most; see ``clip_classify``.

    With vectors as ``data``, ``model=`` must name their model.
    """
    return _decided("clip_classify", data, {"labels": labels, **options})


def outliers(data: Data, *, labels: Sequence[str] | None = None, **options: Any) -> DecisionLog:
    """Find pictures that resemble no others, and labels that are wrong; see ``clip_outliers``.

    Parameters
    ----------
    data : iterable of Item, or numpy.ndarray
    labels : sequence of str, optional
        With vectors as ``data``: each item's label, N of them; needs ``no_texts=True``, or the vectors' ``model=``.
    **options
        Of ``clip_outliers``.
    """
    items, options = _items(data, options)
    if labels is not None:
        if len(labels) != len(items):
            raise OptionError(f"{len(labels)} labels for {len(items)} items")
        labelled = [Item.of("", labels=[label]).labels for label in labels]
        items = [replace(item, labels=each) for item, each in zip(items, labelled, strict=True)]
    return _decided("clip_outliers", items, options)


def find_duplicates(data: Data, *, threshold: float | None = None, **options: Any) -> DuplicateGroups:
    """Find the groups of items that repeat one another, with the reason of each member.

    Parameters
    ----------
    data : iterable of Item or path, or numpy.ndarray
        Pictures are compared as ``clip_dedup`` does: the same file or pixels, and altered copies, judged by pixels.
        Vectors (N, D) can only say which pictures look alike: no member is less similar to the one that stays than
        ``threshold``.
    threshold : float, optional
        Cosine similarity; 0.95 for vectors, for pictures the default of ``clip_dedup``.
    **options
        Of ``clip_dedup``, for pictures.

    Returns
    -------
    DuplicateGroups
        A list of :class:`DuplicateGroup`, in the order of the items that stay.

    Examples
    --------
    >>> import numpy as np
    >>> [group] = find_duplicates(np.array([[1, 0], [0, 1], [1, 0.01]]))
    >>> str(group.keeper), group.members[0].key.id, group.members[0].score
    ('0@default', '2', 0.99995)
    """
    if isinstance(data, np.ndarray):
        if options:
            raise OptionError(f"vectors alone have no {', '.join(sorted(options))}; give pictures, or --threshold only")
        return _alike(data, 0.95 if threshold is None else threshold)
    given = options if threshold is None else {"threshold": threshold, **options}
    made = _decided("clip_dedup", data, given)
    found = made.decisions
    members: dict[ItemKey, list[Decision]] = {}
    for one in found:
        if one.representative is not None:
            members.setdefault(one.representative, []).append(one)
    return DuplicateGroups(
        DuplicateGroup(one.key, tuple(members[one.key]), made.pictures) for one in found if one.key in members
    )


def decide_and_report(
    tool: Tool, values: Values, items: Sequence[Item], classes: Sequence[str], crew: Crew = workers
) -> DecisionLog:
    """Let a tool decide about items, and write the report where one is asked for.

    Parameters and errors are those of :func:`datumaro_clip.curate.run.decide`.
    """
    try:
        made = decide(tool, values, items, classes, crew)
    except BaseException:
        if values.report:
            with suppress(OSError):  # The folder was made to see whether it can be; with files in it, it stays.
                Path(values.report).rmdir()
        raise
    _latest[:] = [made]
    if values.report:
        write_report(values.report, made, items, limit=values.report_items)
        log.info("Report: %s", Path(values.report) / "report.html")
    return made


def last_decisions() -> DecisionLog | None:
    """Return the decisions of the last tool in this process, as after ``dataset.transform("clip_dedup")``.

    Datumaro runs a transform when items are first read, as by ``len(dataset)``; None before any tool ran.
    """
    return _latest[0] if _latest else None


def _decided(name: str, data: Data, options: dict[str, Any]) -> DecisionLog:
    tool = tool_named(name)
    items, options = _items(data, options)
    values = read_values(tool, options)
    return decide_and_report(tool, values, items, sorted({each for item in items for each in item.class_counts()}))


def _items(data: Data, options: dict[str, Any]) -> tuple[list[Item], dict[str, Any]]:
    """Make items of data; vectors belong to the space of the model that the options name."""
    if not isinstance(data, np.ndarray):
        if isinstance(data, str | os.PathLike):
            raise OptionError(f"wanted a list of items or of paths, got the one path {os.fspath(data)!r}")
        if not isinstance(data, Iterable):
            raise OptionError(
                "wanted a list of items or of paths, or an array of vectors, such as open_store(PATH).vectors(); "
                f"got {type(data).__name__}"
            )
        return [each if isinstance(each, Item) else Item.of(os.fspath(each), each) for each in data], options
    rows = unit_rows(data)
    space = VectorSpace("name:given", rows.shape[1], "given")
    model = options.get("model")
    if model is not None:
        encoder = model if isinstance(model, Encoder) else load_model(model)
        space, options = encoder.space, {**options, "model": encoder}
    given = (Embedding(row, space.fingerprint, space.model, "unknown") for row in rows)
    return [Item.of(str(n), embedding=each) for n, each in enumerate(given)], options


def _alike(data: npt.NDArray[Any], threshold: float) -> DuplicateGroups:
    """Group similar vectors around the first one of each group, which represents it."""
    if problem := Cosine().problem(threshold):
        raise OptionError(f"--threshold {problem}, got {threshold!r}")
    rows = unit_rows(data)
    left, right, scores = pairs_above(rows, threshold)
    score = dict(zip(zip(left.tolist(), right.tolist(), strict=True), scores.tolist(), strict=True))
    near = neighbour_lists(len(rows), np.stack([left, right], axis=1).astype(np.int64))
    heads = star_groups(range(len(rows)), near, lambda one, other: True)
    members: dict[int, list[Decision]] = {}
    keys = [ItemKey(str(n), "default") for n in range(len(rows))]
    for n, head in enumerate(heads.tolist()):
        if head != n:
            found = round(score[min(n, head), max(n, head)], 6)
            members.setdefault(head, []).append(
                Decision(keys[n], "drop", "similar_vectors", found, threshold, representative=keys[head])
            )
    return DuplicateGroups(DuplicateGroup(keys[head], tuple(members[head])) for head in sorted(members))
