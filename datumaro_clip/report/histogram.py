"""A histogram of scores as inline SVG."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Measure

_WIDTH, _HEIGHT, _LEFT, _FOOT, _HEAD = 720, 210, 44, 46, 20
_BINS = 60
#: Fewer scores are better read on the cards themselves.
FEWEST = 12


def draw(measure: Measure, kept: str, others: str) -> str:
    """SVG with bars of what is kept under those of the others, a line at the threshold, and titled axes.

    Parameters
    ----------
    measure : Measure
    kept, others : str
        What the two kinds of bars are called.

    Returns
    -------
    str
        Empty where there are fewer than twelve scores, or all are the same.
    """
    scores = np.array([*measure.kept, *measure.others], dtype=np.float64)
    if len(scores) < FEWEST or not np.ptp(scores):
        return ""
    threshold = measure.threshold if _is_near(scores, measure.threshold) else None
    low, high = _range(scores, threshold, measure.most)
    edges = np.linspace(low, high, _BINS + 1)
    counts = [np.histogram(np.clip(part, low, high), edges)[0] for part in (measure.kept, measure.others)]
    tallest = int((counts[0] + counts[1]).max())
    bars = "".join(
        _bar(place, ((kept, "kept", int(k)), (others, "others", int(o))), edges, tallest)
        for place, (k, o) in enumerate(zip(*counts, strict=True))
    )
    label = f"Histogram: {measure.title}, from {scores.min():.3g} to {scores.max():.3g}"
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{_axes(low, high, tallest, measure.title)}{bars}{_line(threshold, low, high)}</svg>"
    )


def _is_near(scores: npt.NDArray[np.float64], threshold: float | None) -> bool:
    """Whether a threshold is no farther from the scores than they are spread; beyond that it would squeeze them."""
    spread = float(np.ptp(scores))
    return threshold is not None and scores.min() - spread <= threshold <= scores.max() + spread


def _range(scores: npt.NDArray[np.float64], threshold: float | None, most: float | None) -> tuple[float, float]:
    """Both ends of the axis: a little beyond scores and threshold, but never beyond what there can be."""
    inside = scores if threshold is None else np.append(scores, threshold)
    low, high = float(inside.min()), float(inside.max())
    margin = max((high - low) * 0.02, 1e-6)
    return low - margin, high + margin if most is None else min(high + margin, most)


def _at(value: float, low: float, high: float) -> float:
    return _LEFT + (_WIDTH - _LEFT) * (value - low) / (high - low)


def _bar(place: int, parts: tuple[tuple[str, str, int], ...], edges: npt.NDArray[np.float64], tallest: int) -> str:
    full = _HEIGHT - _FOOT - _HEAD
    step = (_WIDTH - _LEFT) / _BINS
    drawn, floor = [], float(_HEIGHT - _FOOT)
    for name, kind, count in parts:
        tall = full * count / tallest
        floor -= tall
        if count:
            box = f'x="{_LEFT + place * step + 0.5:.1f}" y="{floor:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
            told = f"{count} {escape(name)}, {edges[place]:.3g} to {edges[place + 1]:.3g}"
            drawn.append(f'<rect class="{kind}" {box}><title>{told}</title></rect>')
    return "".join(drawn)


def _axes(low: float, high: float, tallest: int, title: str) -> str:
    floor, middle = _HEIGHT - _FOOT, (_LEFT + _WIDTH) / 2
    ticks = "".join(_tick(value, low, high) for value in _ticks(low, high))
    return (
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{floor}" y2="{floor}"/>{ticks}'
        f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle" class="title">{escape(title)}</text>'
        f'<text x="{_LEFT - 6}" y="{_HEAD + 4}" text-anchor="end">{tallest}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>'
        f'<text class="title" transform="translate(12 {(_HEAD + floor) / 2}) rotate(-90)" text-anchor="middle">'
        "count</text>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between both ends, four to nine of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * max(figure for figure in (1, 2, 5) if figure * power <= rough)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _tick(value: float, low: float, high: float) -> str:
    x, floor = _at(value, low, high), _HEIGHT - _FOOT
    mark = f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>'
    return f'{mark}<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{value:.4g}</text>'


def _line(threshold: float | None, low: float, high: float) -> str:
    if threshold is None:
        return ""
    x = _at(threshold, low, high)
    anchor = "end" if x > (_LEFT + _WIDTH) / 2 else "start"
    text = f'<text class="limit" x="{x + (-6 if anchor == "end" else 6):.1f}" y="12" text-anchor="{anchor}">'
    line = f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT - _FOOT}"/>'
    return f"{line}{text}threshold {threshold:.4g}</text>"
