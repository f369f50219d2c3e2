"""Shards of a plan on a Ray cluster."""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from datumaro_clip.distributed.making import PlannedWork, read_plan
from datumaro_clip.distributed.ray import LOST, RayTaskError, in_one_line, ray
from datumaro_clip.distributed.records import Record, is_slow, worker_name
from datumaro_clip.distributed.runner import ShardRunner
from datumaro_clip.errors import ClusterError, DatumaroClipError, with_cure

# Seconds between two looks at shards that take long, and after which it is said that no worker is there.
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0

log = logging.getLogger(__name__)


class _Worker:
    """An actor with one dataset and one model, which makes shards one after another."""

    def begin(self, folder: str, plan: str, local: Mapping[str, Any], dataset: str | None) -> str:
        """Read the plan, and say who it is; relative paths are meant from a folder, where this node has that."""
        if os.path.isdir(folder):
            os.chdir(folder)
        work = read_plan(plan)
        self._runner = ShardRunner(work.plan, work.place, local, dataset)
        return worker_name()

    def run(self, number: int) -> Record:
        """Make a shard; what goes wrong comes back in the record, since not every error can travel."""
        try:
            return self._runner.run(number)
        except (DatumaroClipError, OSError) as exc:
            return Record("failed", self._runner.plan.digest(number), worker_name(), error=with_cure(exc))


class _Task(NamedTuple):
    """A shard that a worker makes, since when."""

    number: int
    worker: Any
    since: float


class _Fleet:
    """The workers: those that are starting, and those that wait for work.

    One that has been lost is replaced; it may take long to start, or for ever, where the cluster has become smaller.
    """

    def __init__(self, actor: Any, told: Sequence[Any], count: int) -> None:
        self._actor, self._told = actor, told
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """Start one more."""
        worker = self._actor.remote()
        self.starting[worker.begin.remote(*self._told)] = worker

    def started(self, ref: Any) -> None:
        """Take up a worker that has said that it is there, or start another where it was lost meanwhile.

        Raises
        ------
        ClusterError
            If it is there and cannot work, as for want of the plan: another could not either.
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

    Each worker has one shard at a time. A shard whose worker is lost, with its node or without, comes again behind the
    others; one that takes twice as long as usual is begun a second time where a worker has nothing else to do, and
    whoever is first counts.

    Parameters
    ----------
    work : PlannedWork
        On a file system that all nodes share, or behind a URL.
    numbers : sequence of int
        The shards.
    local : mapping
        What changes the speed only, for all workers.
    tell : callable
        Told of each shard that is done, and its record.
    dataset : str, optional
        Where the dataset is on the nodes, if not where the plan says.
    workers : int, optional
        How many; one a node where omitted.
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
    # What the workers of a node share.
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
    """Which shards wait, which are made by whom, and what became of the others."""

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
        """Give shards that wait, then those that take long, to workers that have nothing to do."""
        while self._fleet.idle and self._waiting:
            self._give(self._waiting.popleft())
        for number in self._stragglers()[: len(self._fleet.idle)]:
            log.warning("shard %d takes long: it is begun a second time", number)
            self._give(number)

    def take(self, ref: Any) -> None:
        """Take up what a worker has made; where it is lost, let the shard come again and start another worker."""
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
        """Whether another worker makes the same shard."""
        return any(task.number == number for task in self.running.values())

    def _stragglers(self) -> list[int]:
        """The shards that one worker makes and that take twice as long as usual, those begun first in front."""
        usual = statistics.median(self._paces) if self._paces else None
        now = time.monotonic()
        makers = Counter(task.number for task in self.running.values())
        slow = [
            task
            for task in self.running.values()
            if makers[task.number] == 1 and is_slow(now - task.since, 0, self._plan.shards[task.number].items, usual)
        ]
        return [task.number for task in sorted(slow, key=lambda task: task.since)]
