"""Making shards one after another, beside other workers that do the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from datumaro_clip.distributed.records import SILENT_SECONDS, Record, worker_name
from datumaro_clip.distributed.runner import ShardRunner
from datumaro_clip.errors import DatumaroClipError, with_cure

_POLL_SECONDS = 2.0

log = logging.getLogger(__name__)


def run_open(runner: ShardRunner, numbers: Iterable[int], tell: Callable[[int, Record], None]) -> list[int]:
    """Make every shard that is not done, and wait until all are.

    A shard whose worker has not updated its record for a minute is taken over. The clocks of machines need not agree:
    an update is a record that differs from the last one seen.

    Parameters
    ----------
    runner : ShardRunner
    numbers : iterable of int
        The shards.
    tell : callable
        Called with each shard that is done, and its record.

    Returns
    -------
    list of int
        The shards that failed here.
    """
    waiting, failed = list(numbers), []
    # Of each shard another worker's latest update, and when it was first seen, by this machine's clock.
    seen: dict[int, tuple[tuple[str, int], float]] = {}
    while waiting:
        left = []
        for number in waiting:
            if (done := runner.work.done(number)) is not None:
                tell(number, done)
            elif not _take(runner, number, seen):
                left.append(number)
            else:
                try:
                    tell(number, runner.run(number))
                except (DatumaroClipError, OSError) as exc:
                    log.error("shard %d failed: %s", number, with_cure(exc))
                    failed.append(number)
        if left == waiting:
            time.sleep(_POLL_SECONDS)
        waiting = left
    return failed


def _take(runner: ShardRunner, number: int, seen: dict[int, tuple[tuple[str, int], float]]) -> bool:
    """Begin an attempt at a shard, unless another worker is alive that works on it."""
    work = runner.work
    mine = Record("running", work.plan.digest(number), worker_name())
    if work.claim(number, mine):
        return True
    other = work.attempt(number)
    if other is not None and other.state == "running" and not other.is_dead:
        update = (other.worker, other.beat)
        latest, since = seen.get(number, (None, 0.0))
        if update != latest:
            seen[number] = (update, time.monotonic())
            return False
        if time.monotonic() - since < SILENT_SECONDS:
            return False
        log.warning("shard %d: nothing was heard of %s for a minute; it is begun again", number, other.worker)
    work.write(number, mine)
    return True
