"""Thumbnails as several threads read them."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from datumaro_clip.curate.near.rings import Thumbnail


class Thumbnails(Protocol):
    """Thumbnails (96, 96, 3) by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Thumbnail: ...


class OneAtATime:
    """The same thumbnails, read by one thread at a time: a file has one place that it is read from."""

    def __init__(self, thumbnails: Thumbnails) -> None:
        self._thumbnails = thumbnails
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[OneAtATime], tuple[Thumbnails]]:
        return type(self), (self._thumbnails,)

    def __len__(self) -> int:
        return len(self._thumbnails)

    def __getitem__(self, index: int) -> Thumbnail:
        with self._lock:
            return self._thumbnails[index]
