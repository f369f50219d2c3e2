"""Where decisions come from: the command, the dataset, the time."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from datumaro_clip.curate.item import Item

_PROGRAMS = ("datum", "datum-clip")
_MODULES = {"datumaro": "datum", "datumaro_clip": "datum-clip", "cli": "datum-clip"}


class Origin(NamedTuple):
    """Where decisions come from.

    Attributes
    ----------
    command : str
        The command line, for a POSIX shell; empty where a program of the user's made them.
    dataset : str
        Where the pictures lie, from the current directory on if they are below it; empty where no file holds them.
    made : datetime
        When, in local time.
    """

    command: str
    dataset: str
    made: datetime

    @classmethod
    def of(cls, items: Iterable[Item]) -> Origin:
        """What this process and the items tell."""
        return cls(command_line(sys.argv), _common_folder(items), datetime.now().astimezone())


def command_line(arguments: list[str]) -> str:
    """The words of a process that runs ``datum`` or ``datum-clip``, quoted; empty for other programs."""
    program = Path(arguments[0]) if arguments else Path()
    name = _MODULES.get(program.parent.name, "") if program.name == "__main__.py" else program.stem
    return shlex.join([name, *arguments[1:]]) if name in _PROGRAMS else ""


def _common_folder(items: Iterable[Item]) -> str:
    """The folder that holds the pictures' files; of a single file, the file."""
    paths = {item.media for item in items if item.media and "://" not in item.media}
    try:
        folder = os.path.commonpath(paths) if paths else ""
    except ValueError:  # some absolute, some not; several drives
        return ""
    is_below = bool(folder) and Path(folder).is_relative_to(Path.cwd())
    return os.path.relpath(folder) if is_below else folder
