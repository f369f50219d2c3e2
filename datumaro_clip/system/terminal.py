"""Standard streams: open them if closed, show progress, and escape text that would command a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from numbers import Number
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm.auto import tqdm


def open_missing_streams() -> None:
    """Put the null device where standard input, output or error is closed.

    Python has None there, which libraries do not expect; and the next file to be opened would get the stream's
    number, so that whatever a library prints would be written into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # This takes the lowest free number, which is the missing one: all below it are open.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def is_notebook() -> bool:
    """Return whether code runs in a cell of Jupyter or the like, where printed text is shown below the cell."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a stream is there, open, and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


@contextmanager
def progress(total: int | None, unit: str = "item", doing: str = "Embedding") -> Iterator[tqdm]:
    """Show a progress bar on standard error or in a notebook's cell, or nothing if there is neither.

    On a terminal, log lines are written above the bar.
    """
    # Imported here because it loads asyncio, which most commands do not need.
    from tqdm.auto import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    on_terminal = is_terminal(sys.stderr)
    bar = tqdm(total=total, unit=unit, desc=doing, disable=not (on_terminal or is_notebook()), leave=False)
    with bar, logging_redirect_tqdm() if on_terminal else nullcontext():
        yield bar


def printable(text: object) -> str:
    r"""Return a text in one line, what is not printable escaped as Python does: ``\n``, ``\x1b``, ``\u202e``."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in plain)


class _PrintableRecord(logging.LogRecord):
    """A log record whose message may have several lines, but whose arguments are printed in one line each."""

    def getMessage(self) -> str:  # noqa: N802 - logging's own name
        if isinstance(self.args, tuple):
            self.args = tuple(each if isinstance(each, Number) else printable(each) for each in self.args)
        return "\n".join(map(printable, super().getMessage().split("\n")))


@contextmanager
def printable_log() -> Iterator[None]:
    """Escape what is not printable in everything that is logged in the block, by any logger and formatter."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_PrintableRecord)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)
