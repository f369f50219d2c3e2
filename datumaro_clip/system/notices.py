"""Warnings that are the last lines of a run, where nobody misses them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
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


def notice_counts(log: logging.Logger, counts: Mapping[str, int], messages: Mapping[str, str], others: str) -> None:
    """As :func:`notice`, of what was counted by reason.

    Parameters
    ----------
    log : logging.Logger
    counts : mapping
    messages : mapping
        By reason, with a place for its number.
    others : str
        Said of all other reasons together, with places for their number and for each reason with its own.
    """
    for reason, message in messages.items():
        if count := counts.get(reason, 0):
            notice(log, message, count)
    if rest := {reason: count for reason, count in sorted(counts.items()) if reason not in messages}:
        notice(log, others, sum(rest.values()), ", ".join(f"{reason} {count}" for reason, count in rest.items()))


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
