"""Prints the output of the commands: all text of files that reaches a terminal passes through here.

Ids, subsets, paths and names come from files of others. Characters that are not printable, such as those that move the
cursor or set a window's title, are shown escaped, and so are those that the terminal's encoding cannot hold.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from datumaro_clip.system.terminal import printable


def say(text: object = "") -> None:
    """Print a line of the result on standard output."""
    print(printable(text))


def say_aside(text: object) -> None:
    """Print a line on standard error, beside the result."""
    print(printable(text), file=sys.stderr)


def say_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.splitlines():
        say(line)


def say_json(value: Any) -> None:
    """Print a value as one line of JSON; characters that standard output cannot show are escaped as in JSON."""
    is_unicode = "utf" in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, ensure_ascii=not is_unicode, default=str)
    # JSON itself escapes only what is below the space.
    print("".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text))


def say_path(path: str, end: str) -> None:
    """Print a path: to a program its bytes and ``end``, to a terminal a line with unprintable characters escaped."""
    if sys.stdout.isatty():
        print(printable(path))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path + end))


def complain(text: object) -> None:
    """Print an error's one line on standard error."""
    say_aside(f"datum-clip: {text}")


def run_while_read(run: Callable[[], int]) -> int:
    """Run a command; if the reader of its output stops reading, as ``head`` does, end it quietly with status 0.

    While it runs, characters that the stream's encoding cannot hold are escaped, and raise no error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return run()
        finally:
            # Here rather than when the interpreter ends; argparse leaves with SystemExit after printing help.
            sys.stdout.flush()
    except BrokenPipeError:
        # Else what is left in the buffer would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
