"""The transform ``clip_clean``."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datumaro.components.annotation import Caption
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.captions import CAPTION_REASONS, CaptionRules, judge_caption
from datumaro_clip.curate.clean import (
    PICTURE_REASONS,
    Finding,
    PictureFacts,
    PictureRules,
    judge_picture,
    require_known,
    spread,
)
from datumaro_clip.curate.decisions import Decision
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.curation.pictures import seen_by
from datumaro_clip.host.curation.transform import CurationTransform
from datumaro_clip.images import decode
from datumaro_clip.vectors import ItemKey

_REASONS = (*PICTURE_REASONS, *CAPTION_REASONS, "no_caption")


class ClipClean(CurationTransform):
    """
    Finds broken, tiny, oddly shaped and blank pictures, and captions that say nothing.|n
    |n
    A picture that is no good takes its item with it; a caption that is no good goes alone ('--require-caption'
    drops items that are left without any). Each reason can be switched: '--skip blank short_caption'.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_clean -o OUT path/to/coco:coco -- --min-side 64 --report REPORT
    """

    NAME = "clip_clean"
    EMBEDS = False
    DEFAULTS = {  # noqa: RUF012 - read, never written
        "min_side": PictureRules.min_side,
        "max_aspect": PictureRules.max_aspect,
        "min_spread": PictureRules.min_spread,
        "min_words": CaptionRules.min_words,
        "skip": (),
        "require_caption": False,
        "require_picture": False,
    }

    RANGES = {  # noqa: RUF012
        "min_side": (0, math.inf),
        "max_aspect": (1, math.inf),
        "min_spread": (0, math.inf),
        "min_words": (0, math.inf),
    }

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the rules."""
        add, defaults = parser.add_argument, cls.DEFAULTS
        add("--min-side", type=int, default=defaults["min_side"], help="pixels (default: %(default)s)")
        add("--max-aspect", type=float, default=defaults["max_aspect"], help="long over short (default: %(default)s)")
        add("--min-spread", type=float, default=defaults["min_spread"], help="grey levels (default: %(default)s)")
        add("--min-words", type=int, default=defaults["min_words"], help="words a caption (default: %(default)s)")
        add("--skip", nargs="+", default=(), metavar="REASON", help=f"checks to leave out, of {', '.join(_REASONS)}")
        add(
            "--require-picture",
            action="store_true",
            help="drop items without a picture, as point clouds, videos, tables",
        )
        add("--require-caption", action="store_true", help="drop items that have no caption, or none that is good")

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Decode and judge every picture, and judge every caption."""
        skip = self.options["skip"]
        require_known(skip, _REASONS)
        picture_rules = PictureRules(
            self.options["min_side"],
            self.options["max_aspect"],
            self.options["min_spread"],
            [reason for reason in PICTURE_REASONS if reason not in self._left_out],
        )
        caption_rules = CaptionRules(
            self.options["min_words"], [reason for reason in CAPTION_REASONS if reason not in skip]
        )
        seen: Counter[ItemKey] = Counter()
        decisions: list[Decision] = []
        for item, facts in zip(items, seen_by(_facts, items), strict=True):
            found = judge_picture(facts, picture_rules)
            repeated = seen[key_of(item)] and "repeated_id" in picture_rules.checks
            seen[key_of(item)] += 1
            if repeated:
                found = Finding("repeated_id", None, None, "an item before has the same id and subset")
            decisions += [_about(item, found)] if found else self._about_captions(item, caption_rules)
        return decisions, []

    @property
    def _left_out(self) -> set[str]:
        """The checks of pictures that are not made."""
        return {*self.options["skip"], *([] if self.options["require_picture"] else ["no_image"])}

    def tells_repeated_ids_apart(self) -> bool:
        """The first item of an id stays, the others go, unless that check is left out."""
        return "repeated_id" not in self.options["skip"]

    def _about_captions(self, item: DatasetItem, rules: CaptionRules) -> Iterator[Decision]:
        captions = [(i, note.caption) for i, note in enumerate(item.annotations) if isinstance(note, Caption)]
        found = [(index, judge_caption(text, rules)) for index, text in captions]
        bad = [(index, finding) for index, finding in found if finding is not None]
        if self.options["require_caption"] and len(bad) == len(captions):
            yield Decision(key_of(item), "drop", "no_caption", detail=f"none of {len(captions)} captions is good")
            return
        yield Decision(key_of(item), "keep")
        for index, finding in bad:
            yield _about(item, finding, index)


def _facts(item: DatasetItem, request: ImageRequest) -> PictureFacts:
    try:
        picture = decode(request.fetch())
    except ImageError as exc:
        return PictureFacts(error=exc.reason, message=_without_folder(str(exc), item))
    return PictureFacts(None, picture.width, picture.height, spread(picture))


def _without_folder(message: str, item: DatasetItem) -> str:
    """A message that is the same wherever the dataset lies."""
    path = str(getattr(item.media, "path", "") or "")
    return message.replace(path, Path(path).name) if path else message


def _about(item: DatasetItem, found: Finding, annotation: int | None = None) -> Decision:
    numbers: dict[str, Any] = {"score": found.score, "threshold": found.threshold, "detail": found.detail}
    return Decision(key_of(item), "drop", found.reason, annotation=annotation, **numbers)
