"""Text of others' files on a terminal, which some characters would command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number


def printable(text: object) -> str:
    r"""A text in one line, with all that is not printable escaped as Python does: ``\n``, ``\x1b``, ``\u202e``."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in plain)


def printable_lines(text: str) -> str:
    """A text with all that is not printable escaped, but for the ends of lines."""
    return "\n".join(map(printable, text.split("\n")))


class _PrintableRecord(logging.LogRecord):
    """A record whose own words may have several lines, and what it tells of files one each."""

    def getMessage(self) -> str:  # noqa: N802 - logging's own name
        if isinstance(self.args, tuple):
            self.args = tuple(each if isinstance(each, Number) else printable(each) for each in self.args)
        return printable_lines(super().getMessage())


@contextmanager
def printable_log() -> Iterator[None]:
    """Escape what is not printable in all that is logged meanwhile, whoever logs it and however it is formatted."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_PrintableRecord)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)
