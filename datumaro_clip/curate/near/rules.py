"""Decides from the measures of a pair of thumbnails whether they are copies.

The weights are a logistic regression over half of a labelled collection: 300 altered copies of 50 pictures, and the
look-alikes that rings propose among 2,000 photos and product shots. The other bounds were set on the look-alikes of
such mixtures, and on brightened copies of drawn catalogues. ``docs/curation.md`` has the figures, also for mixtures
that were not used to set them.
"""

from __future__ import annotations

import math

from datumaro_clip.curate.near.pixels import LARGEST_PEAK, PixelMatch

# Log odds above which a pair are copies: on their own, and if a third picture is a copy of both.
ALONE = 1.5
CONFIRMED = 0.0

# With little detail, a change of light explains any likeness, also that of another, darker object of the same outline.
_RATHER_PLAIN = 0.55
_PLAIN = 0.7
_VERY_PLAIN = 0.75
_BEYOND_DOUBT = 0.994
_RELIT = 0.25
# Without a change of light, copies have more evidence than this: of 1,161 altered copies of photos and products, none
# was below 0.72.
_SAME_LIGHT = 0.1
_UNEXCUSED = 0.6
# Between these shares the unmoved part is a background, neither a few places by chance nor the whole picture.
_GROUND = 0.35
_EVERYTHING = 0.99
# Displacement: of colour variants at most 0.017, of copies that were rotated or cropped 0.02 and more.
_SAME_FRAME = 0.02
# The largest difference that an imperfect fit of the light leaves, as a share of the change of light.
_SHADE = 0.15
# Two of 255 levels, of lightness or of colour.
_VISIBLE = 0.008


def log_odds(found: PixelMatch) -> float:
    """Return the log odds that a pair are copies of one picture and not look-alikes.

    Sharing a silhouette counts little (plainness, evidence), one place that differs counts much (peak); noise, which
    lowers the correlation everywhere, excuses a peak.
    """
    return (
        12.3
        + 1.88 * math.log(1.003 - min(found.correlation, 1.0))
        - 0.40 * math.log(1.01 - min(found.detail, 1.0))
        - 1.96 * math.log(1.02 - min(max(found.evidence, 0.0), 1.0))
        - 4.39 * math.log(found.peak + 0.01)
        - 26.6 * found.plainness
    )


def _is_recoloured(found: PixelMatch, leeway: float = 1.0) -> bool:
    """Whether one place has another colour, beyond what noise and a change of light explain."""
    return found.colour_peak > leeway * 1.2 * (0.012 + found.grain + 0.05 * found.light)


def _is_retouched(found: PixelMatch, *, confirmed_by_third: bool = False, leeway: float = 1.0) -> bool:
    """Whether one place differs far more than the grain of the rest; a plain picture may differ less.

    Where the model of light does not quite fit, it leaves a difference in lightness, but none in colour.
    """
    plain = 0.0 if confirmed_by_third or found.evidence > _BEYOND_DOUBT else max(found.plainness - _VERY_PLAIN, 0.0)
    shade = _SHADE * found.light if found.colour_peak < _VISIBLE else 0.0
    return found.peak > max(leeway * (8.5 - 80 * plain) * (found.grain + 0.001) + shade, _VISIBLE)


def _is_mere_silhouette(found: PixelMatch) -> bool:
    """Whether a pair share only an outline, or little more where the light changed on something plain."""
    relit = found.plainness > _PLAIN and found.light > _RELIT and found.evidence < 2.2 * found.plainness - 0.84
    return found.evidence <= (_UNEXCUSED if found.light < _SAME_LIGHT else 0) or relit


def _is_another_colour(found: PixelMatch) -> bool:
    """Whether the light changed on an object and not on its background, in the same frame.

    Only the object changed brightness, not the background: treated as a colour variant. Brightening a photo of an
    object on white looks the same, but product catalogues hold far more colour variants than such copies.
    """
    same_frame = found.displaced < _SAME_FRAME and _GROUND < found.unmoved < _EVERYTHING
    return same_frame and found.plainness > _RATHER_PLAIN and found.light > _RELIT


def is_copy(found: PixelMatch, *, confirmed_by_third: bool = False, leeway: float = 1.0) -> bool:
    """Whether a pair are copies of one picture.

    Parameters
    ----------
    found : PixelMatch
    confirmed_by_third : bool
        Whether a third picture is a copy of both.
    leeway : float
        Factor on how much a place may differ; above 1 if full pictures are judged afterwards.
    """
    if found.peak > LARGEST_PEAK or _is_retouched(found, confirmed_by_third=confirmed_by_third, leeway=leeway):
        return False
    if _is_recoloured(found, leeway):
        return False
    if not confirmed_by_third and (_is_mere_silhouette(found) or _is_another_colour(found)):
        return False
    return log_odds(found) > (CONFIRMED if confirmed_by_third else ALONE)
