"""Warnings that are the last lines of a run, where nobody misses them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_Notice = tuple[logging.Logger, str, tuple[object, ...]]
_waiting: ContextVar[list[_Notice] | None] = ContextVar("notices", default=None)


def notice(log: logging.Logger, message: str, *values: object) -> None:
    """Warn of something that was lost, or not there: at the end of the run, or at once where nothing tells notices."""
    waiting = _waiting.get()
    if waiting is None:
        log.warning(message, *values)
    else:
        waiting.append((log, message, values))


@contextmanager
def noticed_last() -> Iterator[None]:
    """Around a run: what is noticed meanwhile is logged when it ends, however it ends."""
    notices: list[_Notice] = []
    token = _waiting.set(notices)
    try:
        yield
    finally:
        _waiting.reset(token)
        for log, message, values in notices:
            log.warning(message, *values)
