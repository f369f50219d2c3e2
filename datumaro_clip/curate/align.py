"""Score how well texts fit their pictures, and find the threshold below which they do not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.columns import Columns, Verdicts
from datumaro_clip.curate.margins import COMBINATIONS, Scores, combine, combine_margins, margins
from datumaro_clip.curate.tools import Tool
from datumaro_clip.curate.vector_options import PROMPT_OPTION
from datumaro_clip.errors import OptionError
from datumaro_clip.options import Choice, Cosine, Flag, Number, Option, Share, Values

OPTIONS = (
    Option("against", Choice(names=("captions", "labels", "boxes")), "captions", "what to compare pictures with"),
    Option("captions-score", Choice(names=COMBINATIONS), "max", "how an item's score is made from those of its texts"),
    Option("min-score", Cosine(), None, "drop below this cosine similarity"),
    Option(
        "min-margin",
        Number(metavar="DEVIATIONS"),
        None,
        "drop below this margin: standard deviations above other items' texts",
        unset="found from the data",
    ),
    Option("keep-top", Share(above=True), None, "keep this share of the items, the best ones"),
    Option("per-class", Flag(), False, "apply --keep-top to each class separately"),
    Option("drop-captions", Flag(), False, "remove single captions or boxes, never whole items"),
    PROMPT_OPTION,
)


def find_mismatches(columns: Columns, options: Values) -> Verdicts:
    """Score every text with its picture, or every box with its label, and drop items or annotations.

    Scores are cosine similarities where ``min_score`` or ``keep_top`` is given, else margins over strangers' pictures.
    """
    verdicts, texts = Verdicts(columns.keys), columns.texts
    item, how = columns.rows[texts.owner], options.captions_score
    has_text = np.isin(np.arange(len(columns.items)), item)
    verdicts.set(~has_text, reason="no_text")
    if not len(item):
        verdicts.notes.append("no item has a text to compare")
        return verdicts
    cosines = combine(texts.scores, item, len(columns.items), how)[has_text]
    verdicts.set(has_text, attributes=[{"clip_score": cosine} for cosine in cosines])
    by_text = options.drop_captions or options.against == "boxes"
    if by_text:
        cosines = texts.scores

    by_margin = options.min_score is None and options.keep_top is None
    if by_margin:
        found = margins(columns.vectors, texts.vectors, texts.owner)
        found = found if by_text else combine_margins(found, item, how)
        values, flag = found.beyond_expected, "--min-margin"
        limits = np.full(len(values), found.threshold() if options.min_margin is None else options.min_margin)
    else:
        values, flag = cosines, "--min-score"
        limits = np.full(len(values), -1.0 if options.min_score is None else options.min_score)
    kept = values >= limits
    if options.keep_top is not None:
        kept, limits = keep_top(values, options.keep_top, _classes(columns, by_text) if options.per_class else None)

    subjects = np.arange(len(item)) if by_text else np.flatnonzero(has_text)
    for subject, cosine, value, limit, stays in zip(subjects.tolist(), cosines, values, limits, kept, strict=True):
        fields: dict[str, Any] = {"score": value, "threshold": limit, "attributes": {"clip_score": cosine}}
        fields |= {"action": "keep", "reason": "aligned"} if stays else {"action": "drop", "reason": "mismatch"}
        fields |= {"detail": f"margin {value:.2f} deviations, cosine similarity {cosine:.3f}"} if by_margin else {}
        row = int(item[subject]) if by_text else subject
        judged = slice(subject, subject + 1) if by_text else slice(*np.searchsorted(item, [row, row + 1]))
        annotations = texts.annotation[judged].tolist()
        fields["text"] = "" if stays else " · ".join(map(columns.items[row].said_by, annotations))
        if by_text:
            verdicts.about_annotation(row, annotations[0], **fields)
        else:
            verdicts.set([row], **fields)
    title = "margin of the caption, in standard deviations" if by_margin else "cosine similarity of picture and text"
    limit = float(limits[0]) if len(set(limits.tolist())) == 1 else None
    verdicts.measured(title, values, kept, limit, None if by_margin else 1.0)
    verdicts.notes += _spread(values, flag)
    return verdicts


def _classes(columns: Columns, by_text: bool) -> list[Hashable]:
    """Return the class of each text: that of its annotation, else of its item; or the class of each item with texts."""
    rows = columns.rows[columns.texts.owner]
    if not by_text:
        return list(columns.stratum[np.unique(rows)].tolist())
    judged = zip(rows.tolist(), columns.texts.annotation.tolist(), strict=True)
    return [columns.items[row].label_of(annotation) or int(columns.stratum[row]) for row, annotation in judged]


def _spread(values: Scores, flag: str) -> list[str]:
    """Describe the distribution of scores, and what share thresholds would keep, in the unit of their option."""
    levels = np.percentile(values, [0, 5, 25, 50, 75, 95, 100])
    names = ("min", "5%", "25%", "median", "75%", "95%", "max")
    spread = ", ".join(f"{name} {level:.3f}" for name, level in zip(names, levels, strict=True))
    steps = np.linspace(levels[0], levels[-1], 6)[1:-1]
    would = ", ".join(f"{flag} {step:.3f} keeps {np.mean(values >= step):.0%}" for step in steps)
    by_margin = "margins, in deviations above a stranger's similarity"
    return [f"{by_margin if flag == '--min-margin' else 'cosine similarities'}: {spread}", would]


def _check(values: Values) -> None:
    if sum(value is not None for value in (values.min_score, values.min_margin, values.keep_top)) > 1:
        raise OptionError("give one of --min-score, --min-margin and --keep-top")
    if values.per_class and values.keep_top is None:
        raise OptionError("--per-class needs --keep-top, the share that each class keeps")


TOOL = Tool(
    "clip_align",
    find_mismatches,
    OPTIONS,
    "Scores how well each picture fits its captions or labels, or each box fits its label, and drops what does not "
    "fit.\n\n"
    "Without '--min-score', '--min-margin' and '--keep-top', the tool finds a threshold: it drops items whose texts "
    "fit their picture no better than the texts of other items do. '--drop-captions' removes only the caption or box "
    "that does not fit.",
    ("--keep-top 0.3 --report REPORT",),
    vectors=lambda values: str(values.against),
    check=_check,
    nothing="every text fits its picture",
)


def keep_top(scores: npt.ArrayLike, share: float, classes: Sequence[Hashable] | None = None) -> tuple[Any, Any]:
    """Find the best share of the items, of all or of each class.

    Parameters
    ----------
    scores : array_like
        Shape (N,).
    share : float
        Above 0, at most 1; rounded up, so that each class keeps at least one. Ties go to the earlier item.
    classes : sequence, optional
        Class of each item.

    Returns
    -------
    kept : numpy.ndarray
        Shape (N,), bool.
    thresholds : numpy.ndarray
        Shape (N,), float64: the lowest score that is kept in the item's class.
    """
    values = np.asarray(scores, dtype=np.float64)
    members: dict[Hashable, list[int]] = {}
    for index, name in enumerate(classes if classes is not None else [None] * len(values)):
        members.setdefault(name, []).append(index)
    kept, thresholds = np.zeros(len(values), dtype=np.bool_), np.zeros(len(values))
    for indices in members.values():
        best = sorted(indices, key=lambda index: -values[index])[: math.ceil(share * len(indices) - 1e-9)]
        kept[best] = True
        thresholds[indices] = values[best[-1]]
    return kept, thresholds
