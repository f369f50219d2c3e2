"""The plan: which shards a dataset is cut into, and all that decides what is computed of each.

The file is described in ``docs/cluster.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from datumaro_clip.curate.objects import EMBEDDED_OPTIONS
from datumaro_clip.curate.options import Option, read_options
from datumaro_clip.errors import OptionError, PlanError
from datumaro_clip.store import DTYPES, kind_names
from datumaro_clip.store.base import from_line, to_line
from datumaro_clip.vectors import ItemKey

FORMAT = "datumaro-clip plan"
VERSION = 1

#: What decides vectors, and so belongs to the plan; and what each machine may choose for itself.
PLANNED_OPTIONS: tuple[Option, ...] = tuple(each for each in EMBEDDED_OPTIONS if each.changes == "result")
LOCAL_OPTIONS: tuple[Option, ...] = tuple(each for each in EMBEDDED_OPTIONS if each.changes == "speed")

# Names by which OpenVINO chooses a device itself.
_CHOOSING = ("AUTO", "MULTI", "HETERO", "BATCH")


class StoreSettings(NamedTuple):
    """How the shards' stores are kept: kind, dtype of vectors, and whether pictures are in them."""

    format: str = "clip_mmap"
    dtype: str = "float32"
    save_media: bool = False


@dataclass(frozen=True)
class Shard:
    """Some items that follow one another in the dataset.

    Attributes
    ----------
    items : int
    first, last : ItemKey
    keys : str
        :func:`keys_digest` of them all.
    """

    items: int
    first: ItemKey
    last: ItemKey
    keys: str


@dataclass(frozen=True)
class Plan:
    """A dataset cut into shards.

    Attributes
    ----------
    dataset : str
        ``PATH`` or ``PATH:FORMAT``.
    space : str
        Fingerprint of the model's vector space.
    store : StoreSettings
    options : mapping
        Values of :data:`PLANNED_OPTIONS` by Python name.
    shards : tuple of Shard
    """

    dataset: str
    space: str
    store: StoreSettings
    options: Mapping[str, Any]
    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        require_explicit(self.options)

    @property
    def items(self) -> int:
        """Of all shards."""
        return sum(shard.items for shard in self.shards)

    def name(self, number: int) -> str:
        """A shard's name: its number, as wide as the last one's, so that names sort as numbers do."""
        return f"{number:0{len(str(len(self.shards) - 1))}d}"

    def digest(self, number: int) -> str:
        """SHA-256 over all that decides a shard's vectors, but for the pictures; the model is known by its space."""
        told = {
            name: value for name, value in sorted(self.options.items()) if name not in ("model", "local_files_only")
        }
        content = [FORMAT, VERSION, self.space, self.store, told, self.shards[number].keys]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def require(self, numbers: Iterable[int]) -> None:
        """Raise :class:`OptionError` for numbers of shards that there are not."""
        if unknown := [number for number in numbers if not 0 <= number < len(self.shards)]:
            raise OptionError(f"the plan has no shard {unknown[0]}; it has 0 to {len(self.shards) - 1}")

    def to_json(self) -> bytes:
        """The plan as its file holds it."""
        shards = [
            asdict(shard) | {"first": shard.first._asdict(), "last": shard.last._asdict()} for shard in self.shards
        ]
        told = {
            "format": FORMAT,
            "version": VERSION,
            "dataset": self.dataset,
            "space": self.space,
            "store": self.store._asdict(),
            "options": self.options,
            "shards": shards,
        }
        return json.dumps(told, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Plan:
        """Read a plan's file.

        Raises
        ------
        PlanError
            If it is none, of a version that this release does not know, or does not fit itself; names the file.
        """
        try:
            told = json.loads(content)
            if told["format"] != FORMAT:
                raise PlanError(f"{name} is no plan; make one with datum-clip plan make")
            if told["version"] != VERSION:
                raise PlanError(
                    f"{name} is a plan of version {told['version']}, known is {VERSION}; update datumaro-clip"
                )
            shards = tuple(
                Shard(int(one["items"]), ItemKey(**one["first"]), ItemKey(**one["last"]), str(one["keys"]))
                for one in told["shards"]
            )
            store = StoreSettings(**told["store"])
            options = vars(read_options(PLANNED_OPTIONS, told["options"], "the plan"))
            if store.format not in kind_names() or store.dtype not in DTYPES:
                raise PlanError(f"{name}: there is no store {store.format} of {store.dtype} here")
            return cls(str(told["dataset"]), str(told["space"]), store, options, shards)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            if isinstance(exc, PlanError):
                raise
            raise PlanError(f"{name} cannot be read as a plan ({exc}); make it anew with datum-clip plan make") from exc


def require_explicit(options: Mapping[str, Any]) -> None:
    """Raise :class:`OptionError` unless precision and device are said: what is chosen differs between machines."""
    device, precision = options["device"], options["precision"]
    if precision in (None, "auto"):
        raise OptionError("say --precision f32, or another: what auto chooses differs between machines")
    if device is None or device.partition(":")[0].upper() in _CHOOSING:
        raise OptionError("say --device CPU, or another one: what is chosen differs between machines")


def cut(keys: Sequence[ItemKey], count: int) -> tuple[Shard, ...]:
    """Cut items, in their order, into as many shards, whose sizes differ by one at most; no shard is empty.

    Raises
    ------
    OptionError
        If there are no items, or two share an id and a subset.
    """
    if not keys:
        raise OptionError("0 items read: check the dataset's path and format")
    if len(set(keys)) < len(keys):
        seen: set[ItemKey] = set()
        repeated = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise OptionError(f"two items are called {repeated}; rename one, or drop it with clip_clean")
    count = min(count, len(keys))
    limits = [len(keys) * n // count for n in range(count + 1)]
    parts = [keys[start:end] for start, end in pairwise(limits)]
    return tuple(Shard(len(part), part[0], part[-1], keys_digest(part)) for part in parts)


def keys_file(keys: Iterable[ItemKey]) -> bytes:
    """Keys in their order, each as the line of JSON that a store has of an item with nothing but a key."""
    return b"".join(to_line(key, {}) for key in keys)


def keys_digest(keys: Iterable[ItemKey]) -> str:
    """SHA-256 of :func:`keys_file`, in hexadecimal digits."""
    return hashlib.sha256(keys_file(keys)).hexdigest()


def read_keys(content: bytes, shard: Shard) -> list[ItemKey]:
    """The keys of a shard.

    Raises
    ------
    PlanError
        If the file is of another plan.
    """
    if hashlib.sha256(content).hexdigest() != shard.keys:
        raise PlanError("the keys beside the plan are not the plan's; make it anew with datum-clip plan make")
    return [from_line(line)[0] for line in content.splitlines()]
