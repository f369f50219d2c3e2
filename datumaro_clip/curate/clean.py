"""Find pictures that are broken, too small, oddly shaped or blank."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from datumaro_clip.curate.captions import CAPTION_REASONS, Finding, judge_caption
from datumaro_clip.curate.columns import Columns, Verdicts, map_pictures
from datumaro_clip.curate.tools import Tool
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.options import Choice, Flag, Number, Option, Several, Values, Whole, read_options
from datumaro_clip.vectors import ItemKey

BROKEN = ("missing", "unreadable", "truncated", "too_large", "empty", "not_a_file", "permission", "no_image")
PICTURE_REASONS = (*BROKEN, "too_small", "odd_shape", "blank", "repeated_id")

# JPEG at quality 50 moves the 8x8 means of a flat picture by less than this many grey levels.
BLANK_SPREAD = 8.0
_SPREAD_SIDE = 48
REASONS = (*PICTURE_REASONS, *CAPTION_REASONS, "no_caption")

OPTIONS = (
    Option("min-side", Whole(at_least=0, metavar="PIXELS"), 32, "least length of a picture's shorter side"),
    Option("max-aspect", Number(at_least=1, metavar="RATIO"), 5.0, "greatest ratio of longer to shorter side"),
    Option("min-spread", Number(at_least=0, at_most=255, metavar="LEVELS"), BLANK_SPREAD, "least range of grey levels"),
    Option("min-words", Whole(at_least=0, metavar="N"), 1, "fewest words of a caption"),
    Option("skip", Several(of=Choice(names=REASONS)), (), "checks to leave out"),
    Option("require-picture", Flag(), False, "drop items without a picture, such as point clouds"),
    Option("require-caption", Flag(), False, "drop items that have no good caption"),
)
#: The default values of the options.
DEFAULTS = read_options(OPTIONS, {}, "clip_clean")


class PictureFacts(NamedTuple):
    """Why a picture cannot be decoded, or its size in pixels and its :func:`spread`."""

    error: str | None = None
    width: int = 0
    height: int = 0
    spread: float = 255.0
    message: str = ""


def drop_broken(columns: Columns, options: Values) -> Verdicts:
    """Check every picture and every caption; of items with one id and subset, keep the first with a good picture."""
    verdicts = Verdicts(columns.keys)
    checks = set(REASONS) - {*options.skip} - (set() if options.require_picture else {"no_image"})
    good: set[ItemKey] = set()
    seen = map_pictures(columns.items, _facts, columns.crew)
    for row, (item, facts) in enumerate(zip(columns.items, seen, strict=True)):
        if item.media:  # The message is the same wherever the dataset lies.
            facts = facts._replace(message=facts.message.replace(item.media, Path(item.media).name))
        found = next((each for each in picture_findings(facts, options) if each.reason in checks), None)
        if item.key in good and "repeated_id" in checks:
            found = Finding("repeated_id", "an item before has the same id and subset")
        if found is None:
            good.add(item.key)
            judged = [(each.annotation, judge_caption(each.text, options.min_words, checks)) for each in item.captions]
            bad = [(annotation, finding) for annotation, finding in judged if finding is not None]
            if options.require_caption and len(bad) == len(judged):
                found = Finding("no_caption", f"none of {len(judged)} captions is good")
            else:
                for annotation, finding in bad:
                    verdicts.about_annotation(row, annotation, action="drop", **finding._asdict())
        if found is not None:
            verdicts.set([row], action="drop", **found._asdict())
    return verdicts


def _facts(request: ImageRequest) -> PictureFacts:
    try:
        picture = decode(request.fetch())
    except ImageError as exc:
        return PictureFacts(error=exc.reason, message=str(exc))
    return PictureFacts(None, picture.width, picture.height, spread(picture))


TOOL = Tool(
    "clip_clean",
    drop_broken,
    OPTIONS,
    "Finds broken, tiny, oddly shaped and blank pictures, and captions that say nothing.\n\n"
    "A bad picture removes its item; a bad caption is removed alone ('--require-caption' also drops items that are "
    "left without a caption). '--skip blank short_caption' leaves out these two checks.",
    ("--min-side 64 --report REPORT",),
    vectors=lambda values: "none",
    uses_model=False,
    takes_repeated_keys=lambda values: "repeated_id" not in values.skip,
    nothing="nothing is broken",
)


def spread(picture: Image.Image) -> float:
    """Return the largest range of any channel over a thumbnail, in grey levels from 0 to 255.

    The thumbnail's pixels are means over areas: noise and compression do not hide a blank picture, and a small figure
    on a plain ground still shows.
    """
    small = picture.convert("RGB").resize((_SPREAD_SIDE, _SPREAD_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    return float(np.ptp(pixels, axis=(0, 1)).max())


def picture_findings(facts: PictureFacts, rules: Values = DEFAULTS) -> list[Finding]:
    """Find all faults of a picture, in the order of ``PICTURE_REASONS``.

    Parameters
    ----------
    facts : PictureFacts
    rules : Values
        ``min_side`` (pixels), ``max_aspect`` (longer side over shorter side) and ``min_spread`` (grey levels from 0 to
        255, see :func:`spread`); the defaults of ``clip_clean`` where omitted.
    """
    if facts.error is not None:
        return [Finding(facts.error, facts.message)]
    short, long = sorted((facts.width, facts.height))
    aspect = long / max(short, 1)
    size = f"{facts.width}x{facts.height} pixels"
    found = []
    if short < rules.min_side:
        found.append(Finding("too_small", f"{size}, its shorter side is below {rules.min_side}", short, rules.min_side))
    if aspect > rules.max_aspect:
        found.append(Finding("odd_shape", f"{size}, {aspect:.1f} times as long as wide", aspect, rules.max_aspect))
    if facts.spread < rules.min_spread:
        detail = f"nothing to see: {facts.spread:.0f} grey levels between its darkest and its lightest place"
        found.append(Finding("blank", detail, facts.spread, rules.min_spread))
    return found
