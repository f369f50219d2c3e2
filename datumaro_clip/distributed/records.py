"""Records of a plan's shards: who works on which, which are done, and how long they took."""

from __future__ import annotations

import json
import os
import socket
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from datumaro_clip.distributed.places import Place
from datumaro_clip.distributed.plan import Plan

#: The record of a finished shard; it appears together with the shard's folder, by one rename.
DONE = "shard.json"
#: Seconds between two updates of a worker's record, and seconds without an update after which it counts as silent.
BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0
# A shard that takes so many times the median is slow.
_SLOW = 2.0

State = Literal["running", "failed", "done"]


@dataclass(frozen=True)
class Record:
    """One attempt at a shard.

    Attributes
    ----------
    state : str
        ``running``, ``failed`` or ``done``.
    digest : str
        The shard's digest when the attempt began.
    worker : str
        Host and process.
    items : int
        Items done so far.
    seconds : float
        Seconds so far.
    beat : int
        Grows with every update.
    told : str
        The time of the update: ISO 8601, UTC, by the worker's clock.
    sources, failures : mapping
        The number of items by the source of their vectors; of failed items by reason.
    error : str
        Why it failed.
    """

    state: State
    digest: str
    worker: str
    items: int = 0
    seconds: float = 0.0
    beat: int = 0
    told: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    sources: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    error: str = ""

    def to_json(self) -> bytes:
        """Return the content of its file."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes | None) -> Record | None:
        """Read a record; None if there is no content, or it is no record."""
        try:
            values: Any = json.loads(content or b"null")
            record = cls(**{each.name: values[each.name] for each in fields(cls)})
            texts = (record.state, record.digest, record.worker, record.told, record.error)
            numbers = (record.items, record.seconds, record.beat, *record.sources.values(), *record.failures.values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        is_sound = all(isinstance(each, str) for each in texts)
        return record if is_sound and all(isinstance(each, int | float) for each in numbers) else None

    @property
    def pace(self) -> float:
        """Seconds for each item."""
        return self.seconds / max(self.items, 1)

    @property
    def age(self) -> float:
        """Seconds since the update, if the worker's clock is right."""
        try:
            return (datetime.now(timezone.utc) - datetime.fromisoformat(self.told)).total_seconds()
        except (ValueError, TypeError):
            return 0.0

    @property
    def is_dead(self) -> bool:
        """Whether the worker was a process of this machine that has ended."""
        host, _, pid = self.worker.rpartition(":")
        if host != socket.gethostname() or not pid.isdecimal() or not hasattr(os, "getuid"):
            return False
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False


def worker_name() -> str:
    """Return the name of this process in records."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class PlannedWork:
    """A plan, and the records of its shards.

    Attributes
    ----------
    plan : Plan
    place : Place
        The folder of the shards.
    path : str
        The path or URL of the plan's file.
    """

    plan: Plan
    place: Place
    path: str

    def done(self, number: int) -> Record | None:
        """Return the record of a finished shard; None if it is not there as the plan wants it."""
        return self._read(number, f"{self.plan.name(number)}/{DONE}")

    def attempt(self, number: int) -> Record | None:
        """Return the latest record of an attempt at a shard; None if there is none of this plan."""
        return self._read(number, self.attempt_name(number))

    def write(self, number: int, record: Record) -> None:
        """Write the record of an attempt."""
        self.place.write(self.attempt_name(number), record.to_json())

    def claim(self, number: int, record: Record) -> bool:
        """Write the record of a new attempt unless there is one; return whether it was written."""
        return self.place.create(self.attempt_name(number), record.to_json())

    def end(self, number: int) -> None:
        """Remove the record of the attempt at a shard that is done."""
        self.place.remove(self.attempt_name(number))

    def clear(self, number: int) -> None:
        """Remove a shard that was made by another plan of this name."""
        if self.plan.name(number) in self.place.names() and self.done(number) is None:
            self.place.remove(self.plan.name(number))

    def keys_name(self, number: int) -> str:
        """Return the name of the file with the keys of a shard's items."""
        return f"{self.plan.name(number)}.keys.jsonl"

    def attempt_name(self, number: int) -> str:
        """Return the name of the file with the record of an attempt at a shard."""
        return f"{self.plan.name(number)}.attempt.json"

    def _read(self, number: int, name: str) -> Record | None:
        found = Record.from_json(self.place.read(name))
        return found if found is not None and found.digest == self.plan.digest(number) else None


class ShardState(NamedTuple):
    """The state of a shard.

    Attributes
    ----------
    number : int
    state : str
        ``done``, ``running``, ``failed`` or ``open``; ``slow`` and ``silent`` shards are running, too.
    items : int
        The number of its items.
    record : Record or None
    """

    number: int
    state: str
    items: int
    record: Record | None


def states(work: PlannedWork) -> list[ShardState]:
    """Return the state of each shard."""
    plan, there = work.plan, work.place.names()
    found: list[Record | None] = []
    for number in range(len(plan.shards)):
        done = work.done(number) if plan.name(number) in there else None
        found.append(done or (work.attempt(number) if work.attempt_name(number) in there else None))
    paces = [record.pace for record in found if record is not None and record.state == "done"]
    usual = statistics.median(paces) if paces else None
    return [
        ShardState(number, "open" if record is None else _state(record, shard.items, usual), shard.items, record)
        for number, (record, shard) in enumerate(zip(found, plan.shards, strict=True))
    ]


def _state(record: Record, items: int, usual: float | None) -> str:
    if record.state != "running":
        return record.state
    if record.is_dead or record.age > SILENT_SECONDS:
        return "silent"
    return "slow" if is_slow(record.seconds, record.items, items, usual) else "running"


def is_slow(seconds: float, done: int, items: int, usual: float | None) -> bool:
    """Return whether a shard takes more than twice as long as usual for its size.

    Parameters
    ----------
    seconds : float
        Seconds so far.
    done, items : int
        The number of items done, and of all its items.
    usual : float or None
        The median seconds per item of the shards that are done; None if there are none.
    """
    return usual is not None and done < items and seconds > _SLOW * usual * items


def tell_slowest(found: Sequence[ShardState]) -> str:
    """Return a line on the speeds of the shards that are done; empty if there are fewer than two."""
    rates = sorted(1 / each.record.pace for each in found if each.record and each.state == "done" and each.record.pace)
    return f"{rates[0]:.1f} to {rates[-1]:.1f} items/s a shard" if len(rates) > 1 else ""
