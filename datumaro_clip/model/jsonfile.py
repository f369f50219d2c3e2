"""JSON objects in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.system import files


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raise :class:`ModelFormatError` if it is none."""
    try:
        values = files.read_json(path)
    except (OSError, ValueError) as exc:
        raise ModelFormatError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(values, dict):
        raise ModelFormatError(f"{path} is not a JSON object")
    return values
