"""A histogram of scores as inline SVG."""

from __future__ import annotations

from html import escape

import numpy as np

from datumaro_clip.report.plan import Histogram

_WIDTH, _HEIGHT, _FOOT, _HEAD = 720, 180, 28, 18
_BINS = 60


def draw(histogram: Histogram) -> str:
    """SVG with bars of kept scores under those of the others, a line at the threshold, and both ends of the axis."""
    everything = np.array([*histogram.kept, *histogram.others], dtype=np.float64)
    threshold = histogram.threshold if _is_near(everything, histogram.threshold) else None
    low, high = _range(everything, threshold)
    edges = np.linspace(low, high, _BINS + 1)
    kept, _ = np.histogram(histogram.kept, edges)
    others, _ = np.histogram(histogram.others, edges)
    tallest = max(int((kept + others).max()), 1)
    bars = "".join(_bar(place, int(k), int(o), tallest) for place, (k, o) in enumerate(zip(kept, others, strict=True)))
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Histogram of scores: {escape(histogram.name)}">{bars}{_axis(low, high)}'
        f"{_line(threshold, low, high)}</svg>"
    )


def _is_near(scores: np.typing.NDArray[np.float64], threshold: float | None) -> bool:
    """Whether a threshold is no farther from the scores than they are spread; beyond that it would squeeze them."""
    spread = float(np.ptp(scores))
    return threshold is not None and scores.min() - spread <= threshold <= scores.max() + spread


def _range(scores: np.typing.NDArray[np.float64], threshold: float | None) -> tuple[float, float]:
    inside = scores if threshold is None else np.append(scores, threshold)
    low, high = float(inside.min()), float(inside.max())
    margin = max((high - low) * 0.02, 1e-6)
    return low - margin, high + margin


def _bar(place: int, kept: int, others: int, tallest: int) -> str:
    full = _HEIGHT - _FOOT - _HEAD
    step = _WIDTH / _BINS
    parts, floor = [], float(_HEIGHT - _FOOT)
    for name, count in (("kept", kept), ("others", others)):
        tall = full * count / tallest
        floor -= tall
        if count:
            box = f'x="{place * step + 0.5:.1f}" y="{floor:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
            parts.append(f'<rect class="{name}" {box}><title>{count} {name}</title></rect>')
    return "".join(parts)


def _axis(low: float, high: float) -> str:
    y = _HEIGHT - _FOOT
    ticks = np.linspace(low, high, 5)
    labels = "".join(_tick(place, tick) for place, tick in enumerate(ticks))
    return f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>{labels}'


def _tick(place: int, value: float) -> str:
    anchor = ("start", "middle", "middle", "middle", "end")[place]
    return f'<text x="{_WIDTH * place / 4:.0f}" y="{_HEIGHT - 10}" text-anchor="{anchor}">{value:.3g}</text>'


def _line(threshold: float | None, low: float, high: float) -> str:
    if threshold is None:
        return ""
    x = _WIDTH * (threshold - low) / (high - low)
    anchor = "end" if x > _WIDTH / 2 else "start"
    text = f'<text class="limit" x="{x + (-6 if anchor == "end" else 6):.1f}" y="12" text-anchor="{anchor}">'
    line = f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT - _FOOT}"/>'
    return f"{line}{text}threshold {threshold:.4g}</text>"
