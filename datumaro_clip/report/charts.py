"""The charts of the pages as inline SVG: histograms of scores, and curves of accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.decisions import Measure

if TYPE_CHECKING:
    from datumaro_clip.evaluate.evaluation import Point

# Of a histogram: its size, its margins, and the number of its bars.
_WIDTH, _HEIGHT, _LEFT, _FOOT, _HEAD = 720, 210, 44, 46, 20
_BINS = 60
#: Fewest scores that make a histogram.
FEWEST = 12


def draw_histogram(measure: Measure, kept: str, others: str) -> str:
    """Draw bars of what is kept below those of the others, a line at the threshold, and titled axes.

    Parameters
    ----------
    measure : Measure
    kept, others : str
        Names of the two kinds of bars.

    Returns
    -------
    str
        SVG; empty where there are fewer than twelve scores, or all are equal.
    """
    scores = np.array([*measure.kept, *measure.others], dtype=np.float64)
    if len(scores) < FEWEST or not np.ptp(scores):
        return ""
    threshold, spread = measure.threshold, float(np.ptp(scores))
    if threshold is not None and not scores.min() - spread <= threshold <= scores.max() + spread:
        threshold = None  # So far from the scores that it would squeeze them.
    inside = scores if threshold is None else np.append(scores, threshold)
    low, high = float(inside.min()), float(inside.max())
    margin = max((high - low) * 0.02, 1e-6)
    low, high = low - margin, high + margin if measure.most is None else min(high + margin, measure.most)
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
        f"{_axes(low, high, tallest, measure.title)}{bars}{_limit(threshold, low, high)}</svg>"
    )


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
            title = f"{count} {escape(name)}, {edges[place]:.3g} to {edges[place + 1]:.3g}"
            drawn.append(f'<rect class="{kind}" {box}><title>{title}</title></rect>')
    return "".join(drawn)


def _axes(low: float, high: float, tallest: int, title: str) -> str:
    floor, middle = _HEIGHT - _FOOT, (_LEFT + _WIDTH) / 2
    ticks = []
    for value in _ticks(low, high):
        x = _at(value, low, high)
        ticks.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        ticks.append(f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{value:.4g}</text>')
    return (
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH}" y1="{floor}" y2="{floor}"/>{"".join(ticks)}'
        f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle" class="title">{escape(title)}</text>'
        f'<text x="{_LEFT - 6}" y="{_HEAD + 4}" text-anchor="end">{tallest}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>'
        f'<text class="title" transform="translate(12 {(_HEAD + floor) / 2}) rotate(-90)" text-anchor="middle">'
        "count</text>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Choose round numbers between both ends, four to nine of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * max(figure for figure in (1, 2, 5) if figure * power <= rough)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _limit(threshold: float | None, low: float, high: float) -> str:
    if threshold is None:
        return ""
    x = _at(threshold, low, high)
    anchor = "end" if x > (_LEFT + _WIDTH) / 2 else "start"
    text = f'<text class="limit" x="{x + (-6 if anchor == "end" else 6):.1f}" y="12" text-anchor="{anchor}">'
    line = f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT - _FOOT}"/>'
    return f"{line}{text}threshold {threshold:.4g}</text>"


# Of a chart of curves: its size, its margins, and the numbers of examples on its axis, times powers of ten.
_WIDE, _HIGH = 760, 340
_START, _END, _ABOVE, _BELOW = 52, 20, 16, 46
_STEPS = (1, 2, 5)


class Line(NamedTuple):
    """A curve: its name, its class in the style sheet, and its points."""

    name: str
    kind: str
    points: Sequence[Point]


def draw_curves(lines: Sequence[Line]) -> str:
    """Draw each curve as a line with the band of its intervals, as SVG; the axis of examples is logarithmic."""
    points = [point for line in lines for point in line.points]
    axes = _Axes(
        min(point.samples for point in points),
        max(point.samples for point in points),
        min(point.accuracy.low for point in points),
        max(point.accuracy.high for point in points),
    )
    return (
        f'<svg class="curves" viewBox="0 0 {_WIDE} {_HIGH}" role="img" '
        f'aria-label="Accuracy over the number of examples">{"".join(axes.grid())}'
        f"{''.join(_band(line, axes) for line in lines)}{''.join(_line(line, axes) for line in lines)}</svg>"
    )


class _Axes:
    """The axes of the curves: from numbers of examples and accuracies to places in the drawing."""

    def __init__(self, fewest: int, most: int, low: float, high: float) -> None:
        self._fewest, self._most = math.log(fewest), math.log(max(most, fewest + 1))
        self._step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if high - low <= 7 * step or step == 0.2)
        self._low = math.floor(low / self._step) * self._step
        self._high = max(math.ceil(high / self._step) * self._step, self._low + self._step)

    def x(self, samples: int) -> float:
        share = (math.log(samples) - self._fewest) / (self._most - self._fewest)
        return _START + 14 + share * (_WIDE - _START - _END - 28)

    def y(self, accuracy: float) -> float:
        return _ABOVE + (self._high - accuracy) / (self._high - self._low) * (_HIGH - _ABOVE - _BELOW)

    def grid(self) -> Iterable[str]:
        for n in range(round((self._high - self._low) / self._step) + 1):
            value = self._low + n * self._step
            y = self.y(value)
            yield f'<line class="grid" x1="{_START}" x2="{_WIDE - _END}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{_START - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        floor, last = _HIGH - _BELOW, -math.inf
        for power in range(8):
            for step in _STEPS:
                count = step * 10**power
                if not self._fewest <= math.log(count) <= self._most:
                    continue
                x = self.x(count)
                yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 5}"/>'
                if x - last > 60:
                    yield f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{count:,}</text>'
                    last = x
        yield f'<text class="name" x="{_WIDE - _END}" y="{_HIGH - 6}" text-anchor="end">examples</text>'


def _band(line: Line, axes: _Axes) -> str:
    upper = [f"{axes.x(each.samples):.1f},{axes.y(each.accuracy.high):.1f}" for each in line.points]
    lower = [f"{axes.x(each.samples):.1f},{axes.y(each.accuracy.low):.1f}" for each in reversed(line.points)]
    return f'<polygon class="band {line.kind}" points="{" ".join([*upper, *lower])}"/>'


def _line(line: Line, axes: _Axes) -> str:
    places = [(axes.x(each.samples), axes.y(each.accuracy.value), each) for each in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dots = []
    for x, y, each in places:
        value, low, high = each.accuracy
        title = f"{line.name}: {each.samples:,} examples, accuracy {value:.3f} (95 % from {low:.3f} to {high:.3f})"
        dots.append(
            f'<circle class="{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(title)}</title></circle>'
        )
    return f'<polyline class="{line.kind}" points="{path}"/>{"".join(dots)}'
