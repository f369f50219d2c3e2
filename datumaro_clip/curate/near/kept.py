"""What was worked out of pictures, kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Protocol, TypeVar, cast


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


_Value = TypeVar("_Value", bound=_Sized)


class Kept:
    """Values by key, worked out where they are missing; those used longest ago go first.

    Several threads may ask at once; two that miss the same value both work it out.

    Parameters
    ----------
    room : int
        Bytes that all values take together at most.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._values: OrderedDict[Hashable, _Sized] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The value of a key; ``make`` is asked for it where it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return cast(_Value, self._values[key])
        value = make()
        with self._lock:
            self._take(key, value)
        return value

    def _take(self, key: Hashable, value: _Sized) -> None:
        if key in self._values:
            return
        self._values[key] = value
        self._room -= value.nbytes
        while self._room < 0 and self._values:
            _, oldest = self._values.popitem(last=False)
            self._room += oldest.nbytes
