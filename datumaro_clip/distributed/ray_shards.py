"""Shards of a plan on a Ray cluster."""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from datumaro_clip.distributed.making import read_plan
from datumaro_clip.distributed.ray import LOST, RayTaskError, in_one_line, ray
from datumaro_clip.distributed.records import PlannedWork, Record, is_slow, worker_name
from datumaro_clip.distributed.runner import ShardRunner
from datumaro_clip.errors import ClusterError, DatumaroClipError, with_cure

# Seconds between two checks for slow shards, and seconds without any worker after which a warning is logged.
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0

log = logging.getLogger(__name__)


class _Worker:
    """An actor with one dataset and one model, which makes shards one after another."""

    def begin(self, folder: str, plan: str, local: Mapping[str, Any], dataset: str | None) -> str:
        """Read the plan, and return this worker's name.

        Relative paths start from a folder, if this node has it.
        """
        if os.path.isdir(folder):
            os.chdir(folder)
        self._runner = ShardRunner(read_plan(plan), local, dataset)
        return worker_name()

    def run(self, number: int) -> Record:
        """Make a shard; errors are returned in the record, since some cannot be pickled."""
        try:
            return self._runner.run(number)
        except (DatumaroClipError, OSError) as exc:
            return Record("failed", self._runner.work.plan.digest(number), worker_name(), error=with_cure(exc))


class _Task(NamedTuple):
    """A shard, the worker that makes it, and since when."""

    number: int
    worker: Any
    since: float


class _Fleet:
    """The workers: those that are starting, and idle ones.

    A worker that is lost is replaced. In a cluster that has become smaller, the new one may never start.
    """

    def __init__(self, actor: Any, arguments: Sequence[Any], count: int) -> None:
        self._actor, self._arguments = actor, arguments
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """Start one more."""
        worker = self._actor.remote()
        self.starting[worker.begin.remote(*self._arguments)] = worker

    def started(self, ref: Any) -> None:
        """Add a worker that has started to the idle ones, or start another if it has been lost.

        Raises
        ------
        ClusterError
            If it has started and cannot work, for example without the plan: no other could.
        """
        worker = self.starting.pop(ref)
        try:
            log.info("worker %s is there", ray.get(ref))
            self.idle.append(worker)
        except LOST as exc:
            log.warning("a worker was lost before it was there: %s", in_one_line(exc))
            self.add()
        except RayTaskError as exc:
            raise ClusterError(f"a worker cannot begin: {with_cure(exc.cause)}") from exc


def run_shards(
    work: PlannedWork,
    numbers: Sequence[int],
    local: Mapping[str, Any],
    tell: Callable[[int, Record], None],
    *,
    dataset: str | None = None,
    workers: int | None = None,
    retries: int = 3,
) -> list[int]:
    """Make shards of a plan on the cluster that this process is connected to.

    Each worker makes one shard at a time. A shard whose worker is lost is queued again behind the others. A shard that
    takes twice as long as usual is begun a second time by an idle worker, and the first result counts.

    Parameters
    ----------
    work : PlannedWork
        On a file system that all nodes share, or at a URL.
    numbers : sequence of int
        The shards.
    local : mapping
        The options that change only the speed, for all workers.
    tell : callable
        Called with each shard that is done, and its record.
    dataset : str, optional
        The dataset's place on the nodes, if it is not where the plan says.
    workers : int, optional
        The number of workers; one for each node where omitted.
    retries : int
        How often a shard may lose its worker.

    Returns
    -------
    list of int
        The shards that failed.

    Raises
    ------
    ClusterError
        If a node cannot read the plan.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    count = min(workers or len(nodes), len(numbers))
    cores = int(min(node["Resources"]["CPU"] for node in nodes))
    # Processors for each worker of a node.
    share = max(1, cores // -(-count // len(nodes)))
    actor: Any = ray.remote(num_cpus=share, max_restarts=0, max_task_retries=0)(_Worker)
    fleet = _Fleet(actor, (os.getcwd(), work.path, dict(local), dataset), count)
    shards = _Shards(work, numbers, fleet, tell, retries)
    heard = time.monotonic()
    while not shards.are_settled:
        shards.begin()
        ready, _ = ray.wait([*shards.running, *fleet.starting], timeout=_LOOK_SECONDS)
        for ref in ready:
            fleet.started(ref) if ref in fleet.starting else shards.take(ref)
        if shards.running or ready:
            heard = time.monotonic()
        elif time.monotonic() - heard > _PATIENCE_SECONDS:
            log.warning("no worker is there; the cluster has no node with %d free processors", share)
            heard = time.monotonic()
    return sorted(shards.failed)


class _Shards:
    """The shards: which are waiting, which worker makes which, and which have failed."""

    def __init__(
        self,
        work: PlannedWork,
        numbers: Sequence[int],
        fleet: _Fleet,
        tell: Callable[[int, Record], None],
        retries: int,
    ) -> None:
        self.running: dict[Any, _Task] = {}
        self.failed: set[int] = set()
        self._plan, self._fleet, self._tell, self._retries = work.plan, fleet, tell, retries
        self._open = set(numbers)
        self._waiting = deque(numbers)
        self._losses: Counter[int] = Counter()
        self._paces: list[float] = []

    @property
    def are_settled(self) -> bool:
        """Whether every shard is done, or has failed for good."""
        return not self._open

    def begin(self) -> None:
        """Give waiting shards, then slow ones, to idle workers."""
        while self._fleet.idle and self._waiting:
            self._give(self._waiting.popleft())
        for number in self._stragglers()[: len(self._fleet.idle)]:
            log.warning("shard %d takes long: it is begun a second time", number)
            self._give(number)

    def take(self, ref: Any) -> None:
        """Take a worker's result; if the worker was lost, queue the shard again and start another worker."""
        number, worker, _ = self.running.pop(ref)
        try:
            record: Record = ray.get(ref)
            self._fleet.idle.append(worker)
        except LOST as exc:
            self._fleet.add()
            self._losses[number] += 1
            why = f"its worker was lost: {in_one_line(exc)}"
            record = Record("failed", self._plan.digest(number), "", error=why)
            if self._losses[number] <= self._retries and number in self._open and not self._is_made(number):
                log.warning("shard %d comes again: %s", number, why)
                self._waiting.append(number)
                return
        if number not in self._open or (record.state != "done" and self._is_made(number)):
            return
        self._open.remove(number)
        if record.state == "done":
            self._paces.append(record.pace)
            self._tell(number, record)
        else:
            log.error("shard %d failed: %s", number, record.error)
            self.failed.add(number)

    def _give(self, number: int) -> None:
        worker = self._fleet.idle.pop()
        self.running[worker.run.remote(number)] = _Task(number, worker, time.monotonic())

    def _is_made(self, number: int) -> bool:
        """Return whether a worker makes a shard."""
        return any(task.number == number for task in self.running.values())

    def _stragglers(self) -> list[int]:
        """Return the shards that are slow and have one worker, in the order in which they were begun."""
        usual = statistics.median(self._paces) if self._paces else None
        now = time.monotonic()
        makers = Counter(task.number for task in self.running.values())
        slow = [
            task
            for task in self.running.values()
            if makers[task.number] == 1 and is_slow(now - task.since, 0, self._plan.shards[task.number].items, usual)
        ]
        return [task.number for task in sorted(slow, key=lambda task: task.since)]
