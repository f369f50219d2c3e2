"""Pictures that are links out of their dataset's folder: a failure of one item, and never followed.

Datumaro refuses a whole dataset for one of them. Here the item stays, and its picture's path becomes one that no file
can have: that of a file below the link, which leads to a file itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_spares_others: ContextVar[bool] = ContextVar("spares_others", default=False)


def sparing_others(join: Callable[..., str]) -> Callable[..., str]:
    """Datumaro's function that joins a folder and the names that a dataset says, and refuses what leads out of it."""

    def join_within_base(base_dir: str, *parts: str) -> str:
        try:
            return join(base_dir, *parts)
        except ValueError:
            path = os.path.join(base_dir, *parts)
            if not (_spares_others.get() and _leads_out_by_links(path, base_dir)):
                raise
            return os.path.join(path, os.path.basename(path))

    return join_within_base


@contextmanager
def one_link_fails_alone() -> Iterator[None]:
    """While a dataset is read, let a link that leads out of its folder be its item's failure."""
    token = _spares_others.set(True)
    try:
        yield
    finally:
        _spares_others.reset(token)


def link_out_of_folder(path: str) -> str | None:
    """The link that a path made here stands for; None for any other path."""
    link, name = os.path.split(path)
    return link if os.path.basename(link) == name and os.path.isfile(link) else None


def _leads_out_by_links(path: str, base_dir: str) -> bool:
    """Whether a path names a file below a folder, and leads out of it only because one of its parts is a link."""
    plain, base = os.path.abspath(path), os.path.abspath(base_dir)
    return plain.startswith(os.path.join(base, "")) and os.path.isfile(plain)
