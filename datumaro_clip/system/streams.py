"""Standard streams, which a daemon may have been started without."""

from __future__ import annotations

import os
import sys
from typing import IO


def open_missing_streams() -> None:
    """Put the null device where standard input, output or error is closed.

    Python has None there, which libraries do not expect; and the next file that is opened would get its number,
    so that what some library prints went into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: all below it are open.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def is_notebook() -> bool:
    """Whether code runs in a cell of Jupyter or the like, where what is printed is seen below it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is there, open, and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()
