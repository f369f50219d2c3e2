"""The file with a project's defaults: ``datumaro-clip.toml``, or ``[tool.datumaro-clip]`` in ``pyproject.toml``."""

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
    """The defaults of a configuration file.

    Attributes
    ----------
    path : Path
        The file.
    values : mapping
        Its values as TOML has them, unchecked.
    """

    path: Path
    values: Mapping[str, Any]


def find_configuration() -> Configuration | None:
    """Find the nearest file with defaults, from the working directory upwards; None where there is none.

    Raises
    ------
    OptionError
        If the nearest file cannot be read, or is not TOML.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        own = folder / OWN_FILE
        if own.is_file():
            return Configuration(own, _read(own))
        project = folder / PROJECT_FILE
        # A pyproject.toml without our section is not parsed, so it may be broken.
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
