"""The tool ``clip_dedup``: describe the items, find those that repeat others, and report them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np

from datumaro_clip.curate.clusters import clusters_option
from datumaro_clip.curate.columns import Columns, Verdicts, map_pictures
from datumaro_clip.curate.duplicates import Candidate, Duplicate, Findings, find_duplicates, pixel_digest
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.margins import combine
from datumaro_clip.curate.near import Difference, Pictures
from datumaro_clip.curate.near.rings import Thumbnail
from datumaro_clip.curate.nearest import SAMPLE
from datumaro_clip.curate.thumbnails import ThumbnailFile, square_thumbnail
from datumaro_clip.curate.tools import Tool
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.embedding.keys import content_digest
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.options import Choice, Cosine, Flag, Option, Several, Share, Values, Whole
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

# Leaking groups that are named one by one.
_NAMED = 50
# Fewest items of a class whose kept share is told.
_FEWEST = 10

_NO_GAIN = (
    "semantic: fewer pictures are no gain in themselves, and on clean data a random share may teach more: "
    "datum-clip evaluate compares the two"
)

_KEEP = ("alignment", "annotations", "resolution", "order")

OPTIONS = (
    Option(
        "levels",
        Several(of=Choice(names=("exact", "near", "semantic"))),
        ("exact", "near"),
        "which kinds of duplicates to look for",
    ),
    Option("threshold", Cosine(), 0.88, "compare the pixels of pairs at least this similar"),
    Option("keep", Several(of=Choice(names=_KEEP)), _KEEP, "which copy stays, most important criterion first"),
    Option("keep-ratio", Share(above=True), 0.95, "share that the semantic level keeps"),
    Option(
        "semantic-threshold",
        Cosine(),
        None,
        "semantic level: drop what is this similar to what stays",
        unset="--keep-ratio decides",
    ),
    Option(
        "redundant",
        Choice(names=("pictures", "texts", "both")),
        "pictures",
        "what must be alike in semantic duplicates",
    ),
    clusters_option(help="clusters of the semantic level"),
    Option("seed", Whole(at_least=0, metavar="N"), 0, "random seed of the clusters"),
    Option("merge-annotations", Flag(), False, "give the item that stays the labels and captions of its duplicates"),
    Option("approximate", Flag(), False, "faster, incomplete: compare items of the same clusters only"),
    Option("no-vectors", Flag(), False, "load no model: compare pixels only"),
)


def drop_duplicates(columns: Columns, options: Values) -> Verdicts:
    """Describe every item, find the groups of duplicates, and drop all but one item of each."""
    with ThumbnailFile() as thumbnails:
        candidates, shown = describe(columns, thumbnails, "near" in options.levels)
        found = find_duplicates(candidates, thumbnails, shown, options, pictures_of(columns), columns.crew)
    verdicts = _verdicts(columns, found)
    for what, (met, total) in found.recall.items():
        share = f", {met / total:.2%}" if total else ""
        verdicts.notes.append(
            f"approximate: {met:,} of {total:,} neighbours by {what} are found{share}, by a sample of {SAMPLE:,} items"
        )
    if "semantic" in options.levels:
        verdicts.notes += [*_beside_random(columns, found), _NO_GAIN]
    return verdicts


def pictures_of(columns: Columns) -> Pictures:
    """Return a function that reads the picture of an item; one at a time, since a video has one reader."""
    turn = Lock()

    def picture(row: int) -> ImageLike:
        with turn:
            return columns.items[row].fetch()

    return picture


def describe(columns: Columns, thumbnails: ThumbnailFile, near: bool) -> tuple[list[Candidate], list[int]]:
    """Collect what decides about duplicates of each item, and list the items that have a thumbnail.

    Thumbnails are made only for ``near`` duplicates, and written to the file at once.
    """
    candidates, shown = [], []
    owner = columns.rows[columns.texts.owner]
    alignment = combine(columns.texts.scores, owner, len(columns.items), "max")
    vectors = dict(zip(columns.rows.tolist(), columns.vectors, strict=True))
    texts = _text_directions(columns)
    pictures = map_pictures(columns.items, partial(_read, near), columns.crew)
    for row, (item, picture) in enumerate(zip(columns.items, pictures, strict=True)):
        fit = None if np.isnan(alignment[row]) else float(alignment[row])
        protected = item.key.subset in columns.protected
        known = (picture.digests, picture.pixels, item.annotation_count, fit, protected, vectors.get(row))
        candidates.append(Candidate(*known, text=texts.get(row)))
        if picture.thumbnail is not None:
            shown.append(row)
            thumbnails.append(picture.thumbnail)
    return candidates, shown


def _text_directions(columns: Columns) -> dict[int, FloatArray]:
    """Return the mean direction of the texts of each item that has any."""
    owner = columns.rows[columns.texts.owner]
    rows, first = np.unique(owner, return_index=True)
    if not len(rows):
        return {}
    sums = np.add.reduceat(columns.texts.vectors.astype(np.float64), first, axis=0)
    return dict(zip(rows.tolist(), unit_rows(sums), strict=True))


@dataclass(frozen=True)
class _Picture:
    """The digests, the size and the thumbnail of an item's picture; empty where it cannot be decoded."""

    digests: tuple[bytes, ...] = ()
    pixels: int = 0
    thumbnail: Thumbnail | None = None


def _read(near: bool, request: ImageRequest) -> _Picture:
    try:
        source = request.fetch()
        picture = decode(source)
        digests = (content_digest(source), pixel_digest(picture))
    except ImageError:
        return _Picture()
    return _Picture(digests, picture.width * picture.height, square_thumbnail(picture) if near else None)


def _verdicts(columns: Columns, found: Findings) -> Verdicts:
    verdicts = Verdicts(columns.keys)
    duplicates = found.duplicates
    standing = {each.representative for each in duplicates.values()}
    for item, other, difference in found.look_alikes:
        if item in standing and other not in standing:
            item, other, difference = other, item, difference._replace(boxes=difference.boxes[::-1])
        verdicts.set(
            [item],
            reason="look_alike",
            score=difference.levels,
            threshold=difference.allowed,
            resembles=other,
            places=difference.boxes,
            detail=_refusal(difference, columns.keys[other]),
        )
    heads = sorted(standing)
    groups = {head: number for number, head in enumerate(heads)}
    members = {head: [head] for head in heads}
    for row, each in duplicates.items():
        members[each.representative].append(row)
        verdicts.set(
            [row],
            action="drop",
            reason=f"{each.level}_duplicate",
            score=each.score,
            threshold=each.threshold,
            group=groups[each.representative],
            representative=each.representative,
            detail=_sentence(each),
        )
    # What is only similar may have another label, and lie in another subset.
    copies = [[row for row in members[head] if row == head or duplicates[row].level != "semantic"] for head in heads]
    quarrels = [conflicts([columns.items[row] for row in each]) for each in copies]
    verdicts.set(heads, score=None, threshold=None, resembles=None, places=None)
    verdicts.set(heads, reason="representative", group=np.arange(len(heads)), detail=quarrels)
    copied = [each.difference for each in duplicates.values() if each.difference is not None]
    if judged := [*copied, *(each.difference for each in found.look_alikes)]:
        title = "largest difference, as a share of what a copy may have"
        stays = np.arange(len(judged)) >= len(copied)
        verdicts.measured(title, [each.levels / each.allowed for each in judged], stays, 1.0)
    verdicts.notes += leaks([[columns.items[row] for row in each] for each in copies])
    named = zip(heads, quarrels, strict=True)
    verdicts.notes += [f"conflict: {columns.keys[head]}: {quarrel}" for head, quarrel in named if quarrel]
    return verdicts


def _beside_random(columns: Columns, found: Findings) -> list[str]:
    """Compare the semantic level's choice with a random one of the same size.

    The first note compares how similar dropped items are to kept ones; the second names the class that loses most.
    """
    if found.control is None:
        return []
    gone = {row for row, each in found.duplicates.items() if each.level == "semantic"}
    similarity = (
        f"semantic: what goes is {found.control.chosen:.3f} similar to what stays, on average; as many drawn at "
        f"random would be {found.control.random:.3f}"
    )
    stood = [row for row in range(len(columns.items)) if row in gone or row not in found.duplicates]
    labels = [(columns.items[row].label, row in gone) for row in stood]
    before, after = Counter(label for label, _ in labels), Counter(label for label, goes in labels if not goes)
    shares = {label: after[label] / count for label, count in before.items() if label and count >= _FEWEST}
    if len(shares) < 2:
        return [similarity]
    least = min(shares, key=lambda label: shares[label])
    kept = 1 - len(gone) / len(stood)
    by_class = f"semantic: of {kept:.0%} that stay, {least} keeps {shares[least]:.0%} of {before[least]:,}"
    return [similarity, f"{by_class}, the fewest of all classes; at random, each would keep about {kept:.0%}"]


def _sentence(each: Duplicate) -> str:
    if each.match is None:
        semantic = f"stands for it, by a cosine similarity of {each.score:.3f}"
        return {"exact": "the same file or the same pixels", "semantic": semantic}[each.level]
    if each.difference is None:
        return f"an altered copy: once aligned, pixels correlate by {each.match.correlation:.3f}"
    x, y = each.difference.centres[0]
    return f"an altered copy: at most {each.difference.levels:.0f} of 255 grey levels apart, at ({x}, {y})"


def _refusal(difference: Difference, other: ItemKey) -> str:
    x, y = difference.centres[0]
    explained = f"noise, encoding and edges explain {difference.explained:.0f}"
    return f"looks like {other}, but differs by {difference.levels:.0f} of 255 grey levels at ({x}, {y}); {explained}"


def leaks(groups: Sequence[Sequence[Item]]) -> list[str]:
    """Return notes on the groups that lie in more than one subset: their number, then the first fifty of them."""
    across = [group for group in groups if len({item.key.subset for item in group}) > 1]
    notes = [f"leak: {', '.join(str(item.key) for item in group)}" for group in across[:_NAMED]]
    return [f"{len(across)} duplicate groups lie across subsets", *notes] if across else []


def conflicts(group: Sequence[Item]) -> str:
    """Return a sentence on how the labels of a group's members differ; empty where they agree.

    Members without any label, or any box, say nothing. Of boxes the numbers of each label count; their places move
    with the picture's edges.
    """
    labels, boxes = set(), set()
    for item in group:
        labels.add(", ".join(sorted({str(label.name) for label in item.labels if label.is_of_picture})))
        counts = Counter(str(box.label) for box in item.boxes if box.label is not None)
        boxes.add(", ".join(f"{count} {label}" for label, count in sorted(counts.items())))
    named = (("labels", labels - {""}), ("boxes", boxes - {""}))
    return "; ".join(f"{name} differ: {' / '.join(sorted(each))}" for name, each in named if len(each) > 1)


def _wanted(values: Values) -> str:
    """Return the vectors that the levels use; captions where they decide which item stays."""
    if values.no_vectors or not {"near", "semantic"} & set(values.levels):
        return "none"
    return "captions" if "alignment" in values.keep or values.redundant != "pictures" else "pictures"


def _check(values: Values) -> None:
    if values.no_vectors and "semantic" in values.levels:
        raise OptionError("the semantic level needs vectors: leave out --no-vectors, or semantic among the --levels")
    if values.approximate and "near" not in values.levels:
        raise OptionError("--approximate needs near among the --levels")
    if "semantic" not in values.levels and (values.semantic_threshold is not None or values.redundant != "pictures"):
        raise OptionError("--semantic-threshold and --redundant need semantic among the --levels")


TOOL = Tool(
    "clip_dedup",
    drop_duplicates,
    OPTIONS,
    "Finds duplicate pictures: the same file or pixels (exact), altered copies (near) and, if asked for, pictures "
    "that resemble one another (semantic).\n\n"
    "CLIP vectors and picture descriptors propose near pairs, and the pixels decide, so that pictures which only look "
    "alike stay. Of each group one item stays: the one whose captions fit best; then the one with most annotations; "
    "the largest; the first ('--keep' changes this order). Copies across subsets and copies with different labels are "
    "reported.",
    ("--protect val --report REPORT",),
    vectors=_wanted,
    check=_check,
    takes_objects=True,
    nothing="no duplicates found",
)
