"""Lets a command replace the directory that it left half written when it was killed; no other command does."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

# Programs of which a process runs one command.
_PROGRAMS = ("datum", "datum-clip")
_MODULES = ("datumaro.", "datumaro_clip.cli.")


def take_up(arguments: Sequence[str], run: Callable[[list[str]], int]) -> int:
    """Run a command of Datumaro's, with ``--overwrite`` if an earlier run of the very same command was killed.

    Parameters
    ----------
    arguments : sequence of str
        The command's name and its arguments.
    run : callable
        Runs a command; returns its exit status.

    Returns
    -------
    int
        The exit status.
    """
    output = _output_of(arguments)
    if output is None or "--overwrite" in arguments:
        return run(list(arguments))
    marker = _Marker(output, arguments)
    was_killed = marker.was_killed
    if _is_filled(output) and not was_killed:
        return run(list(arguments))
    with marker.around() as ended:
        ended(status := run([arguments[0], "--overwrite", *arguments[1:]] if was_killed else list(arguments)))
    return status


@contextmanager
def filling(output: Path, arguments: Mapping[str, object]) -> Iterator[None]:
    """While a command fills a directory, mark it as unfinished; first remove what the very same command left there.

    A directory that holds anything else stays as it is; the command itself refuses it.

    Parameters
    ----------
    output : Path
    arguments : mapping
        Of the command, by name.
    """
    told = {name: value for name, value in sorted(arguments.items()) if not callable(value)}
    marker = _Marker(output, [f"{name}={value}" for name, value in told.items()])
    if marker.was_killed:
        shutil.rmtree(output)
    elif _is_filled(output):
        yield
        return
    with marker.around() as ended:
        yield
        ended(0)


class _Marker:
    """A file beside a directory, ``.NAME.unfinished``, that says which command is filling it.

    It is written before the directory, and removed when the command has ended well. If it cannot be written, the user
    has to tell a killed command to overwrite.
    """

    def __init__(self, output: Path, command: Sequence[str]) -> None:
        self._output = output.absolute()
        self._path = self._output.with_name(f".{self._output.name}.unfinished")
        self._command = hashlib.sha256("\0".join([os.getcwd(), *command]).encode(errors="surrogateescape")).hexdigest()

    @property
    def was_killed(self) -> bool:
        """Whether the very same command was killed while it filled the directory."""
        try:
            return _is_filled(self._output) and self._path.read_text(errors="replace") == self._command
        except OSError:
            return False

    @contextmanager
    def around(self) -> Iterator[Callable[[int], None]]:
        """While a command runs, keep the file; the command gives its exit status to the function that this yields.

        The file stays if the command fails and has written something.
        """
        statuses: list[int] = []
        with suppress(OSError):
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self._command)
        try:
            yield statuses.append
        finally:
            if 0 in statuses and _process_is_one_command():
                atexit.register(self._end)
            elif 0 in statuses or not _is_filled(self._output):
                self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _end(self) -> None:
        """Do what Python does at its end, remove the file, and leave the process at once.

        Python takes a second more to free libraries and memory. A kill in that second would hit a command that has
        ended; the system frees them at once.
        """
        atexit.unregister(self._end)
        atexit._run_exitfuncs()
        logging.shutdown()
        status = 0
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                status = 120  # As Python's own.
        self._remove()
        os._exit(status)


def _process_is_one_command() -> bool:
    """Whether this process is ``datum`` or ``datum-clip``, and not a program that calls them."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).stem in _PROGRAMS or (spec is not None and spec.name.startswith(_MODULES))


def _output_of(arguments: Sequence[str]) -> Path | None:
    """Return the directory that a command of Datumaro's writes to, from its options before ``--``."""
    own = [*arguments[: arguments.index("--")]] if "--" in arguments else [*arguments]
    for option, value in pairwise([*own, ""]):
        if option in ("-o", "--output-dir"):
            return Path(value)
        if option.startswith("--output-dir="):
            return Path(option.partition("=")[2])
    return None


def _is_filled(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())
