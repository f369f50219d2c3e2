"""The size of a batch: fixed, or the one that this machine computes fastest."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence

_log = logging.getLogger(__name__)

# Batches of the usual size before others are tried, because trying is not worth it in short runs.
_BEFORE = 16
# Batches tried of each size, and the last of these that are measured: the first still overlap with those of another
# size, and let the device prepare for this one.
_TRIED, _MEASURED = 6, 4
# Another size must be faster by this factor; smaller differences are noise.
_GAIN = 1.05


class Pace:
    """Chooses the size of each batch: a fixed one, or by measurement while the run is under way.

    Vectors do not depend on it.

    Parameters
    ----------
    usual : int
        The size to begin with.
    others : sequence of int
        Sizes to try after the first batches; none for a fixed size.
    """

    def __init__(self, usual: int, others: Sequence[int] = ()) -> None:
        self.largest = max((usual, *others))
        self._usual, self._chosen = usual, None if others else usual
        # How many batches of each size to compute before the choice, and the sizes of those still to come.
        self._trials = {usual: _BEFORE + _TRIED, **dict.fromkeys(others, _TRIED)}
        self._plan = deque(size for size, batches in self._trials.items() for _ in range(batches))
        self._ends: dict[int, list[tuple[float, int]]] = {size: [] for size in self._trials}

    def next(self) -> int:
        """Return the size of the next batch."""
        if self._chosen is None:
            if self._plan:
                return self._plan.popleft()
            if all(len(self._ends[size]) >= batches for size, batches in self._trials.items()):
                self._chosen = self._choose()
        return self._chosen or self._usual

    def ended(self, size: int, rows: int) -> None:
        """Note that a batch is computed: the size that :meth:`next` gave for it, and its rows, as many or fewer."""
        if self._chosen is None:
            self._ends[size].append((time.perf_counter(), rows))

    def _choose(self) -> int:
        rates = {size: self._rate(size) for size in self._trials}
        fastest = max(rates, key=rates.__getitem__)
        chosen = fastest if rates[fastest] > _GAIN * rates[self._usual] else self._usual
        told = ", ".join(f"{size}: {rate:.0f}/s" for size, rate in rates.items())
        _log.info("batches of %d pictures from here on (%s)", chosen, told)
        return chosen

    def _rate(self, size: int) -> float:
        """Return a size's pictures per second, from the beginning of the first measured batch to the last one's end."""
        batches = self._trials[size]
        times, rows = zip(*self._ends[size][batches - _MEASURED - 1 : batches], strict=True)
        return float(sum(rows[1:]) / max(times[-1] - times[0], 1e-9))
