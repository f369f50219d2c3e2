"""From what a comparison of pixels showed to a verdict.

The weights are a logistic regression over half of a labelled collection: 300 altered copies of 50 pictures, and the
look-alikes that rings propose among 2,000 photos and product shots. The other bounds were set on the look-alikes of
such mixtures, and on brightened copies of drawn catalogues; ``docs/curation.md`` gives the figures, those of mixtures
that none of them saw among them.
"""

from __future__ import annotations

import math

from datumaro_clip.curate.near.pixels import LARGEST_PEAK, PixelMatch

# Log odds at which a pair counts as copies: by what the pair shows, and where a third is surely a copy of both.
ALONE = 1.5
CONFIRMED = 0.0

# Where little is to be seen, a change of light explains any likeness: another thing of that outline, darker.
_RATHER_PLAIN = 0.55
_PLAIN = 0.7
_VERY_PLAIN = 0.75
_BEYOND_DOUBT = 0.994
_RELIT = 0.25
# In one light a copy explains more than this: of 1,161 altered copies of photos and products, none below 0.72.
_SAME_LIGHT = 0.1
_UNEXCUSED = 0.6
# Share of a picture that is a ground, and not a place or two that the light did not change.
_GROUND = 0.35
_EVERYTHING = 0.99
# Sides that a corner moves: of a thing's colours at most 0.017, of copies that were turned or cropped 0.02 and more.
_SAME_FRAME = 0.02
# What a change of light leaves at most, as a share of it, where the model of light does not fit quite.
_SHADE = 0.15
# Two of 255 levels, of lightness or of colour.
_VISIBLE = 0.008


def log_odds(found: PixelMatch) -> float:
    """Logarithm of the odds that a pair are copies of one picture and not look-alikes.

    A silhouette that both share says little (plainness, evidence); a place that differs says much (peak); noise, which
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


def is_recoloured(found: PixelMatch, leeway: float = 1.0) -> bool:
    """Whether a place has another colour, beyond what noise and a change of light explain."""
    return found.colour_peak > leeway * 1.2 * (0.012 + found.grain + 0.05 * found.light)


def is_retouched(found: PixelMatch, *, confirmed_by_third: bool = False, leeway: float = 1.0) -> bool:
    """Whether one place differs far more than the grain of the rest: the less there is to see, the less it may.

    A change of light that is not quite what the model of light says leaves a shade, but no colour.
    """
    plain = 0.0 if confirmed_by_third or found.evidence > _BEYOND_DOUBT else max(found.plainness - _VERY_PLAIN, 0.0)
    shade = _SHADE * found.light if found.colour_peak < _VISIBLE else 0.0
    return found.peak > max(leeway * (8.5 - 80 * plain) * (found.grain + 0.001) + shade, _VISIBLE)


def _is_mere_silhouette(found: PixelMatch) -> bool:
    """Whether a pair share an outline and no more, or, where the light changed on something plain, hardly more."""
    relit = found.plainness > _PLAIN and found.light > _RELIT and found.evidence < 2.2 * found.plainness - 0.84
    return found.evidence <= (_UNEXCUSED if found.light < _SAME_LIGHT else 0) or relit


def _is_another_colour(found: PixelMatch) -> bool:
    """Whether the light changed on a thing and not on its ground, in one frame.

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
        Whether another picture that is surely a copy of the one is surely a copy of the other as well.
    leeway : float
        How many times as much a place may differ as where nothing but thumbnails is looked at.
    """
    if found.peak > LARGEST_PEAK or is_retouched(found, confirmed_by_third=confirmed_by_third, leeway=leeway):
        return False
    if is_recoloured(found, leeway):
        return False
    if not confirmed_by_third and (_is_mere_silhouette(found) or _is_another_colour(found)):
        return False
    return log_odds(found) > (CONFIRMED if confirmed_by_third else ALONE)
