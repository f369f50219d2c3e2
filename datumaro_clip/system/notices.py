"""Warnings that are held back until the end of a run, so that they are its last lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_Notice = tuple[logging.Logger, str, tuple[object, ...]]
_waiting: ContextVar[list[_Notice] | None] = ContextVar("notices", default=None)


def notice(log: logging.Logger, message: str, *values: object) -> None:
    """Log a warning at the end of the run, or at once outside :func:`noticed_last`."""
    waiting = _waiting.get()
    if waiting is None:
        log.warning(message, *values)
    else:
        waiting.append((log, message, values))


def notice_counts(log: logging.Logger, counts: Mapping[str, int], messages: Mapping[str, str], others: str) -> None:
    """Log warnings about counted reasons, as :func:`notice` does.

    Parameters
    ----------
    log : logging.Logger
    counts : mapping
        Number of cases by reason.
    messages : mapping
        The message for a reason, with a placeholder for its number.
    others : str
        One message for all other reasons, with placeholders for their total and for the list of reasons and numbers.
    """
    for reason, message in messages.items():
        if count := counts.get(reason, 0):
            notice(log, message, count)
    if rest := {reason: count for reason, count in sorted(counts.items()) if reason not in messages}:
        notice(log, others, sum(rest.values()), ", ".join(f"{reason} {count}" for reason, count in rest.items()))


@contextmanager
def noticed_last() -> Iterator[None]:
    """Hold back the notices of a block, and log them when it ends, with or without an error."""
    notices: list[_Notice] = []
    token = _waiting.set(notices)
    try:
        yield
    finally:
        _waiting.reset(token)
        for log, message, values in notices:
            log.warning(message, *values)
