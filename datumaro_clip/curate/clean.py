"""Pictures that are broken, too small, oddly shaped or blank."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from datumaro_clip.errors import OptionError

BROKEN = ("missing", "unreadable", "truncated", "too_large", "empty", "not_a_file", "permission", "no_image")
PICTURE_REASONS = (*BROKEN, "too_small", "odd_shape", "blank", "repeated_id")

# JPEG at quality 50 moves the 8x8 means of a flat picture by less than this many grey levels.
BLANK_SPREAD = 8.0
_SPREAD_SIDE = 48


@dataclass(frozen=True)
class PictureRules:
    """What a picture has to be.

    Attributes
    ----------
    min_side : int
        Shortest side wanted, pixels.
    max_aspect : float
        Longer side over shorter side, at most.
    min_spread : float
        Grey levels (0 to 255) between the darkest and the lightest place, at least; see :func:`spread`.
    checks : collection of str
        Those of ``PICTURE_REASONS`` that are on.
    """

    min_side: int = 32
    max_aspect: float = 5.0
    min_spread: float = BLANK_SPREAD
    checks: Collection[str] = PICTURE_REASONS

    def __post_init__(self) -> None:
        if self.min_side < 0 or self.max_aspect < 1 or self.min_spread < 0:
            raise OptionError("--min-side and --min-spread must be at least 0, --max-aspect at least 1")
        require_known(self.checks, PICTURE_REASONS)


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture: why it cannot be decoded, or its size in pixels and its spread."""

    error: str | None = None
    width: int = 0
    height: int = 0
    spread: float = 255.0
    message: str = ""


class Finding(NamedTuple):
    """A named reason, what was measured, what it was compared with, and a sentence for people."""

    reason: str
    score: float | None
    threshold: float | None
    detail: str


def require_known(reasons: Collection[str], known: Collection[str]) -> None:
    """Raise :class:`OptionError` for a reason that there is no check for."""
    if unknown := sorted(set(reasons) - set(known)):
        raise OptionError(f"no check is called {', '.join(unknown)}; there are {', '.join(known)}")


def spread(picture: Image.Image) -> float:
    """Largest range of any channel over a thumbnail, in grey levels from 0 to 255.

    The thumbnail's pixels are means over areas, so that noise and compression do not hide a blank picture, and a
    small figure on a plain ground is still seen.
    """
    small = picture.convert("RGB").resize((_SPREAD_SIDE, _SPREAD_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    return float(np.ptp(pixels, axis=(0, 1)).max())


def judge_picture(facts: PictureFacts, rules: PictureRules) -> Finding | None:
    """The first thing that is wrong with a picture, in the order of ``PICTURE_REASONS``; None if nothing is."""
    if facts.error is not None:
        return Finding(facts.error, None, None, facts.message) if facts.error in rules.checks else None
    return next((found for found in _measured(facts, rules) if found.reason in rules.checks), None)


def _measured(facts: PictureFacts, rules: PictureRules) -> list[Finding]:
    short, long = sorted((facts.width, facts.height))
    aspect = long / max(short, 1)
    size = f"{facts.width}x{facts.height} pixels"
    found = []
    if short < rules.min_side:
        found.append(Finding("too_small", short, rules.min_side, f"{size}, its shorter side is below {rules.min_side}"))
    if aspect > rules.max_aspect:
        found.append(Finding("odd_shape", aspect, rules.max_aspect, f"{size}, {aspect:.1f} times as long as wide"))
    if facts.spread < rules.min_spread:
        detail = f"nothing to see: {facts.spread:.0f} grey levels between its darkest and its lightest place"
        found.append(Finding("blank", facts.spread, rules.min_spread, detail))
    return found
