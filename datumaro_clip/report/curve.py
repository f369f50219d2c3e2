"""Accuracy over the number of examples, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from datumaro_clip.evaluate.evaluation import Point

_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _FOOT = 52, 20, 16, 46
# Numbers of examples that are told on the axis where they lie in its range.
_STEPS = (1, 2, 5)


class Line(NamedTuple):
    """A line of the chart: its name, its class in the style sheet, and its points."""

    name: str
    kind: str
    points: Sequence[Point]


def draw_curves(lines: Sequence[Line]) -> str:
    """SVG with a line and the band of its intervals for each of some curves; examples on a logarithmic axis."""
    points = [point for line in lines for point in line.points]
    axes = _Axes(
        min(point.samples for point in points),
        max(point.samples for point in points),
        min(point.accuracy.low for point in points),
        max(point.accuracy.high for point in points),
    )
    return (
        f'<svg class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Accuracy over the number of examples">{"".join(axes.grid())}'
        f"{''.join(_band(line, axes) for line in lines)}{''.join(_line(line, axes) for line in lines)}</svg>"
    )


class _Axes:
    """Where numbers of examples and accuracies lie in the drawing."""

    def __init__(self, fewest: int, most: int, low: float, high: float) -> None:
        self._fewest, self._most = math.log(fewest), math.log(max(most, fewest + 1))
        self._step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if high - low <= 7 * step or step == 0.2)
        self._low = math.floor(low / self._step) * self._step
        self._high = max(math.ceil(high / self._step) * self._step, self._low + self._step)

    def x(self, samples: int) -> float:
        share = (math.log(samples) - self._fewest) / (self._most - self._fewest)
        return _LEFT + 14 + share * (_WIDTH - _LEFT - _RIGHT - 28)

    def y(self, accuracy: float) -> float:
        return _TOP + (self._high - accuracy) / (self._high - self._low) * (_HEIGHT - _TOP - _FOOT)

    def grid(self) -> Iterable[str]:
        for n in range(round((self._high - self._low) / self._step) + 1):
            value = self._low + n * self._step
            y = self.y(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        floor, last = _HEIGHT - _FOOT, -math.inf
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
        yield f'<text class="name" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">examples</text>'


def _band(line: Line, axes: _Axes) -> str:
    upper = [f"{axes.x(each.samples):.1f},{axes.y(each.accuracy.high):.1f}" for each in line.points]
    lower = [f"{axes.x(each.samples):.1f},{axes.y(each.accuracy.low):.1f}" for each in reversed(line.points)]
    return f'<polygon class="band {line.kind}" points="{" ".join([*upper, *lower])}"/>'


def _line(line: Line, axes: _Axes) -> str:
    places = [(axes.x(each.samples), axes.y(each.accuracy.value), each) for each in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dots = "".join(
        f'<circle class="{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(_told(line.name, each))}</title>'
        "</circle>"
        for x, y, each in places
    )
    return f'<polyline class="{line.kind}" points="{path}"/>{dots}'


def _told(name: str, point: Point) -> str:
    value, low, high = point.accuracy
    return f"{name}: {point.samples:,} examples, accuracy {value:.3f} (95 % from {low:.3f} to {high:.3f})"
