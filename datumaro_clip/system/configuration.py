"""The file with a project's defaults: ``datumaro-clip.toml``, or ``[tool.datumaro-clip]`` of ``pyproject.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datumaro_clip.errors import OptionError
from datumaro_clip.system.files import read_toml

OWN_FILE = "datumaro-clip.toml"
PROJECT_FILE = "pyproject.toml"
_SECTION = "datumaro-clip"


@dataclass(frozen=True)
class Configuration:
    """What a file sets.

    Attributes
    ----------
    path : Path
    values : mapping
        As TOML has them; not checked.
    """

    path: Path
    values: Mapping[str, Any]


def find_configuration() -> Configuration | None:
    """The nearest file with defaults, from the working directory upwards; None where there is none.

    Raises
    ------
    OptionError
        If the nearest file cannot be read, or is no TOML.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        own = folder / OWN_FILE
        if own.is_file():
            return Configuration(own, _read(own))
        project = folder / PROJECT_FILE
        # Somebody else's file need not be sound, as long as it says nothing about us.
        if project.is_file() and _SECTION.encode() in project.read_bytes():
            section = _read(project).get("tool", {}).get(_SECTION)
            if isinstance(section, dict):
                return Configuration(project, section)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except (OSError, ValueError) as exc:
        raise OptionError(f"{path} cannot be read: {exc}") from exc
