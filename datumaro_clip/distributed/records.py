"""What is known of a plan's shards: who works on which, which are done, and how long they took."""

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

#: The file in a shard's folder that says who made it of what; it comes with the folder, by one rename.
DONE = "shard.json"
#: Seconds between two words of a worker, and after how many without one it counts as silent.
BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0
# A shard that takes so many times the median is slow.
SLOW = 2.0


State = Literal["running", "failed", "done"]


@dataclass(frozen=True)
class Record:
    """One attempt at a shard.

    Attributes
    ----------
    state : str
        ``running``, ``failed`` or ``done``.
    digest : str
        The shard's, when it was begun.
    worker : str
        Host and process.
    items : int
        Items that were looked at so far.
    seconds : float
        So far.
    beat : int
        Grows with every word of the worker.
    told : str
        When it was written: ISO 8601, UTC, by the worker's clock.
    sources, failures : mapping
        Items by where their vectors came from; failed ones by reason.
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
        """As its file holds it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes | None) -> Record | None:
        """A file's content; None where there is none, or it is no record."""
        try:
            told: Any = json.loads(content or b"null")
            record = cls(**{each.name: told[each.name] for each in fields(cls)})
            texts = (record.state, record.digest, record.worker, record.told, record.error)
            numbers = (record.items, record.seconds, record.beat, *record.sources.values(), *record.failures.values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        is_sound = all(isinstance(each, str) for each in texts)
        return record if is_sound and all(isinstance(each, int | float) for each in numbers) else None

    @property
    def pace(self) -> float:
        """Seconds an item."""
        return self.seconds / max(self.items, 1)

    @property
    def age(self) -> float:
        """Seconds since it was told, if the worker's clock is right."""
        try:
            return (datetime.now(timezone.utc) - datetime.fromisoformat(self.told)).total_seconds()
        except (ValueError, TypeError):
            return 0.0

    @property
    def is_dead(self) -> bool:
        """Whether the worker was a process of this machine that is no more."""
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
    """This process, as records call it."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Records:
    """The records of a plan's shards.

    Parameters
    ----------
    plan : Plan
    place : Place
        The folder of the shards.
    """

    def __init__(self, plan: Plan, place: Place) -> None:
        self.plan, self.place = plan, place

    def done(self, number: int) -> Record | None:
        """Who made a shard; None as long as it is not there as the plan wants it."""
        return self._read(number, f"{self.plan.name(number)}/{DONE}")

    def attempt(self, number: int) -> Record | None:
        """The attempt at a shard that wrote last; None where there is none of this plan."""
        return self._read(number, self._attempt(number))

    def write(self, number: int, record: Record) -> None:
        """Keep the record of an attempt."""
        self.place.write(self._attempt(number), record.to_json())

    def claim(self, number: int, record: Record) -> bool:
        """Begin an attempt, unless another has begun one; whether it was begun."""
        return self.place.create(self._attempt(number), record.to_json())

    def end(self, number: int) -> None:
        """Forget the attempts at a shard that is done."""
        self.place.remove(self._attempt(number))

    def clear(self, number: int) -> None:
        """Remove a shard that was made by another plan of this name."""
        if self.plan.name(number) in self.place.names() and self.done(number) is None:
            self.place.remove(self.plan.name(number))

    def keys_name(self, number: int) -> str:
        """The file with the keys of a shard's items."""
        return f"{self.plan.name(number)}.keys.jsonl"

    def _read(self, number: int, name: str) -> Record | None:
        found = Record.from_json(self.place.read(name))
        return found if found is not None and found.digest == self.plan.digest(number) else None

    def _attempt(self, number: int) -> str:
        return f"{self.plan.name(number)}.attempt.json"


class ShardState(NamedTuple):
    """How a shard stands.

    Attributes
    ----------
    number : int
    state : str
        ``done``, ``running``, ``failed`` or ``open``; ``slow`` and ``silent`` are running, too.
    items : int
        That it has.
    record : Record or None
    """

    number: int
    state: str
    items: int
    record: Record | None


def states(records: Records) -> list[ShardState]:
    """How each shard stands."""
    plan, there = records.plan, records.place.names()
    found: list[Record | None] = []
    for number in range(len(plan.shards)):
        done = records.done(number) if plan.name(number) in there else None
        found.append(done or (records.attempt(number) if f"{plan.name(number)}.attempt.json" in there else None))
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
    """Whether a shard takes more than twice as long as others of its size do.

    Parameters
    ----------
    seconds : float
        That it has taken so far.
    done, items : int
        Items that are done, and that it has.
    usual : float or None
        Seconds an item of those shards that are done; None where there are none.
    """
    return usual is not None and done < items and seconds > SLOW * usual * items


def tell_slowest(found: Sequence[ShardState]) -> str:
    """A line on the spread of the shards that are done; empty where there are fewer than two."""
    rates = sorted(1 / each.record.pace for each in found if each.record and each.state == "done" and each.record.pace)
    return f"{rates[0]:.1f} to {rates[-1]:.1f} items/s a shard" if len(rates) > 1 else ""
