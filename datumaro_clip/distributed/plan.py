"""The plan: the shards that a dataset is cut into, and everything that their vectors depend on.

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
from datumaro_clip.errors import OptionError, PlanError
from datumaro_clip.options import Option, read_options
from datumaro_clip.store import DTYPES, kind_names
from datumaro_clip.store.base import from_line, to_line
from datumaro_clip.vectors import ItemKey

FORMAT = "datumaro-clip plan"
VERSION = 1

#: Options that change vectors, which belong to the plan; and options that each machine may choose for itself.
PLANNED_OPTIONS: tuple[Option, ...] = tuple(each for each in EMBEDDED_OPTIONS if each.changes == "result")
LOCAL_OPTIONS: tuple[Option, ...] = tuple(each for each in EMBEDDED_OPTIONS if each.changes == "speed")

# Options that change no vector of a given vector space.
_NOT_DIGESTED = ("model", "local_files_only")
# Device names with which OpenVINO chooses a device itself.
_CHOOSING = ("AUTO", "MULTI", "HETERO", "BATCH")


class StoreSettings(NamedTuple):
    """The form of the shards' stores: kind, dtype of vectors, and whether pictures are in them."""

    format: str = "clip_mmap"
    dtype: str = "float32"
    save_media: bool = False


@dataclass(frozen=True)
class Shard:
    """Some consecutive items of the dataset.

    Attributes
    ----------
    items : int
    first, last : ItemKey
    keys : str
        :func:`keys_digest` of all their keys.
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
        """The number of items of all shards."""
        return sum(shard.items for shard in self.shards)

    def name(self, number: int) -> str:
        """Return a shard's name: its number, with zeros in front, so that names sort as numbers do."""
        return f"{number:0{len(str(len(self.shards) - 1))}d}"

    def digest(self, number: int) -> str:
        """Return a SHA-256 of everything that a shard's vectors depend on, but the pictures.

        The model counts by its vector space.
        """
        options = {name: self.options[name] for name in sorted(self.options) if name not in _NOT_DIGESTED}
        content = [FORMAT, VERSION, self.space, self.store, options, self.shards[number].keys]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()

    def require(self, numbers: Iterable[int]) -> None:
        """Raise :class:`OptionError` if there is no shard of one of the numbers."""
        if unknown := [number for number in numbers if not 0 <= number < len(self.shards)]:
            raise OptionError(f"the plan has no shard {unknown[0]}; it has 0 to {len(self.shards) - 1}")

    def to_json(self) -> bytes:
        """Return the content of the plan's file."""
        shards = [
            asdict(shard) | {"first": shard.first._asdict(), "last": shard.last._asdict()} for shard in self.shards
        ]
        values = {
            "format": FORMAT,
            "version": VERSION,
            "dataset": self.dataset,
            "space": self.space,
            "store": self.store._asdict(),
            "options": self.options,
            "shards": shards,
        }
        return json.dumps(values, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Plan:
        """Read a plan's file.

        Raises
        ------
        PlanError
            If it is no plan, or of a version that this release does not know; the message names the file.
        """
        try:
            values = json.loads(content)
            if values["format"] != FORMAT:
                raise PlanError(f"{name} is no plan; make one with datum-clip plan make")
            if values["version"] != VERSION:
                raise PlanError(
                    f"{name} is a plan of version {values['version']}, known is {VERSION}; update datumaro-clip"
                )
            shards = tuple(
                Shard(int(one["items"]), ItemKey(**one["first"]), ItemKey(**one["last"]), str(one["keys"]))
                for one in values["shards"]
            )
            store = StoreSettings(**values["store"])
            options = vars(read_options(PLANNED_OPTIONS, values["options"], "the plan"))
            if store.format not in kind_names() or store.dtype not in DTYPES:
                raise PlanError(f"{name}: there is no store {store.format} of {store.dtype} here")
            return cls(str(values["dataset"]), str(values["space"]), store, options, shards)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            if isinstance(exc, PlanError):
                raise
            raise PlanError(f"{name} cannot be read as a plan ({exc}); make it anew with datum-clip plan make") from exc


def require_explicit(options: Mapping[str, Any]) -> None:
    """Raise :class:`OptionError` unless precision and device are given: automatic choices differ between machines."""
    device, precision = options["device"], options["precision"]
    if precision in (None, "auto"):
        raise OptionError("say --precision f32, or another: what auto chooses differs between machines")
    if device is None or device.partition(":")[0].upper() in _CHOOSING:
        raise OptionError("say --device CPU, or another one: what is chosen differs between machines")


def cut(keys: Sequence[ItemKey], count: int) -> tuple[Shard, ...]:
    """Cut items, in their order, into at most ``count`` shards, none empty, whose sizes differ by at most one.

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
    """Return keys in their order, each as the JSON line of an item with nothing but a key, as in a store."""
    return b"".join(to_line(key, {}) for key in keys)


def keys_digest(keys: Iterable[ItemKey]) -> str:
    """Return the SHA-256 of :func:`keys_file`, in hexadecimal digits."""
    return hashlib.sha256(keys_file(keys)).hexdigest()


def read_keys(content: bytes, shard: Shard) -> list[ItemKey]:
    """Read the keys of a shard.

    Raises
    ------
    PlanError
        If the file belongs to another plan.
    """
    if hashlib.sha256(content).hexdigest() != shard.keys:
        raise PlanError("the keys beside the plan are not the plan's; make it anew with datum-clip plan make")
    return [from_line(line)[0] for line in content.splitlines()]
