"""Directories that a killed ``datum`` command left half written: the same command takes them up, no other does."""

from __future__ import annotations

import atexit
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path


def take_up(arguments: Sequence[str], run: Callable[[list[str]], int], *, until_exit: bool = False) -> int:
    """Run a command of Datumaro's; with ``--overwrite`` where an earlier run of the very same was killed.

    A file beside the output directory, ``.NAME.unfinished``, says which command is filling it, from before the
    directory is there until the command has ended well. Where it cannot be written, a killed command needs
    ``--overwrite``, as Datumaro says.

    Parameters
    ----------
    arguments : sequence of str
        The command's name and its arguments.
    run : callable
        Runs a command; returns its exit status.
    until_exit : bool
        Whether the command ends with the process: while Python clears up, a kill is a kill of the command.

    Returns
    -------
    int
        The exit status.
    """
    output = _output_of(arguments)
    if output is None or "--overwrite" in arguments:
        return run(list(arguments))
    output = output.absolute()
    marker = output.with_name(f".{output.name}.unfinished")
    command = hashlib.sha256("\0".join([os.getcwd(), *arguments]).encode(errors="surrogateescape")).hexdigest()
    was_filled = _is_filled(output)
    if was_filled and not _says(marker, command):
        return run(list(arguments))
    with suppress(OSError):
        output.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(command)
    ended: list[int] = []

    def clear() -> None:
        if ended:
            with suppress(OSError):
                marker.unlink(missing_ok=True)

    if until_exit:
        # Handlers run last in, first out: those of libraries that the command loads come before this one.
        atexit.register(clear)
    status = 1
    try:
        status = run([arguments[0], "--overwrite", *arguments[1:]] if was_filled else list(arguments))
    finally:
        if status == 0 or not _is_filled(output):
            ended.append(status)
            if not until_exit:
                clear()
    return status


def _output_of(arguments: Sequence[str]) -> Path | None:
    """The directory that a command of Datumaro's writes to, by its options before ``--``."""
    own = [*arguments[: arguments.index("--")]] if "--" in arguments else [*arguments]
    for option, value in pairwise([*own, ""]):
        if option in ("-o", "--output-dir"):
            return Path(value)
        if option.startswith("--output-dir="):
            return Path(option.partition("=")[2])
    return None


def _says(marker: Path, command: str) -> bool:
    try:
        return marker.is_file() and marker.read_text(errors="replace") == command
    except OSError:
        return False


def _is_filled(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
