"""Datasets as a command line names them."""

from __future__ import annotations

import re
from pathlib import Path

from datumaro.components.dataset import Dataset

from datumaro_clip.errors import OptionError
from datumaro_clip.host.causes import in_one_line

_FORMAT = re.compile(r"\w+")


def split_spec(spec: str) -> tuple[str, str | None]:
    """The path and the format of ``PATH[:FORMAT]``; a path that exists as it is, colons and all, is a path."""
    path, _, name = spec.rpartition(":")
    is_named = bool(path) and bool(_FORMAT.fullmatch(name)) and not Path(spec).exists()
    return (path, name) if is_named else (spec, None)


def open_dataset(spec: str) -> Dataset:
    """The dataset of ``PATH`` or ``PATH:FORMAT``.

    Raises
    ------
    OptionError
        If there is nothing, or it cannot be read.
    """
    place, name = split_spec(spec)
    if not Path(place).exists():
        raise OptionError(f"there is nothing at {place}; check the path, and write it as PATH or PATH:FORMAT")
    try:
        return Dataset.import_from(place, name)
    except Exception as exc:
        cure = "" if name else "; write it as PATH:FORMAT"
        raise OptionError(f"{spec} cannot be read as a dataset: {in_one_line(exc)}{cure}") from exc
