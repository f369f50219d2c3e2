"""How many pictures a batch has: what this machine computes fastest."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence

_log = logging.getLogger(__name__)

# Batches of the usual size before others are tried: short runs are not worth it.
_BEFORE = 16
# Batches of each size tried; the first of them still overlap with another size, and prepare the device for this one.
_TRIED, _MEASURED = 6, 4
# Another size must be faster by this factor: less is noise.
_GAIN = 1.05


class Pace:
    """Chooses the size of each batch: a fixed one, or by measurement while the run is under way.

    Vectors do not depend on it.

    Parameters
    ----------
    usual : int
        The size to begin with.
    others : sequence of int
        Sizes to try once the run has gone on for a while; none for a fixed size.
    """

    def __init__(self, usual: int, others: Sequence[int] = ()) -> None:
        self.largest = max((usual, *others))
        self._usual, self._chosen = usual, None if others else usual
        self._plan = deque([usual] * (_BEFORE + _TRIED) if others else [])
        self._plan.extend(size for size in others for _ in range(_TRIED))
        self._trials = [_Trial(usual, skipped=_BEFORE), *(_Trial(size) for size in others)]

    def next(self) -> int:
        """The size of the next batch."""
        if self._plan:
            return self._plan.popleft()
        if self._chosen is None and all(trial.is_over for trial in self._trials):
            self._chosen = self._choose()
        return self._chosen or self._usual

    def ended(self, size: int, rows: int) -> None:
        """Note that a batch which :meth:`next` gave a size for is computed; it had as many rows or fewer."""
        if self._chosen is None:
            next(trial for trial in self._trials if trial.size == size).note(rows)

    def _choose(self) -> int:
        usual, *_ = self._trials
        fastest = max(self._trials, key=lambda trial: trial.rate)
        chosen = fastest if fastest.rate > _GAIN * usual.rate else usual
        rates = ", ".join(f"{trial.size}: {trial.rate:.0f}/s" for trial in self._trials)
        _log.info("batches of %d pictures from here on (%s)", chosen.size, rates)
        return chosen.size


class _Trial:
    """When batches of one size ended."""

    def __init__(self, size: int, skipped: int = 0) -> None:
        self.size = size
        self._wanted = skipped + _TRIED
        self._ends: list[tuple[float, int]] = []

    def note(self, rows: int) -> None:
        self._ends.append((time.perf_counter(), rows))

    @property
    def is_over(self) -> bool:
        return len(self._ends) >= self._wanted

    @property
    def rate(self) -> float:
        """Pictures a second from the first of the measured batches' beginning to the last one's end."""
        times, rows = zip(*self._ends[self._wanted - _MEASURED - 1 : self._wanted], strict=True)
        return float(sum(rows[1:]) / max(times[-1] - times[0], 1e-9))
