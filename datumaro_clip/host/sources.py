"""Opens datasets as a command line names them, and warns of pictures that importers leave out without a word."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from datumaro.components.dataset import Dataset
from datumaro.components.media import TableRow
from datumaro.util.image import IMAGE_EXTENSIONS, find_images

from datumaro_clip.errors import OptionError
from datumaro_clip.host.causes import in_one_line
from datumaro_clip.host.repairs import one_link_fails_alone
from datumaro_clip.system.notices import notice

log = logging.getLogger(__name__)

# Formats that are nothing but pictures in folders.
_FOLDERS = ("image_dir", "imagenet_with_subset_dirs")
_PICTURES = {ending.lower() for ending in IMAGE_EXTENSIONS}
_NAMED = 3
_FORMAT = re.compile(r"\w+")


def split_spec(spec: str) -> tuple[str, str | None]:
    """Return the path and the format of ``PATH[:FORMAT]``; what exists as it is, colons and all, is a path."""
    path, _, name = spec.rpartition(":")
    is_named = bool(path) and bool(_FORMAT.fullmatch(name)) and not Path(spec).exists()
    return (path, name) if is_named else (spec, None)


def open_dataset(spec: str) -> Dataset:
    """Open the dataset of ``PATH`` or ``PATH:FORMAT``.

    Raises
    ------
    OptionError
        If there is nothing, or it cannot be read.
    """
    place, name = split_spec(spec)
    if not Path(place).exists():
        raise OptionError(f"there is nothing at {place}; check the path, and write it as PATH or PATH:FORMAT")
    try:
        return _watched(Dataset.import_from, place, name, {})
    except Exception as exc:
        cure = "" if name else "; write it as PATH:FORMAT, a table as PATH:clip_table"
        raise OptionError(f"{spec} cannot be read as a dataset: {in_one_line(exc)}{cure}") from exc


class Named(NamedTuple):
    """A dataset and its name."""

    name: str
    dataset: Dataset


def open_named(specs: Sequence[str]) -> list[Named]:
    """Open datasets of ``PATH[:FORMAT]``; each is named after its path's end, and equal names get a mark."""
    found: list[Named] = []
    for spec in specs:
        dataset = open_dataset(spec)
        name = Path(dataset.data_path).name or "dataset"
        while name in {each.name for each in found}:
            name += "'"
        found.append(Named(name, dataset))
    return found


@contextmanager
def watched_imports() -> Iterator[None]:
    """While a command of Datumaro's runs, read its datasets as :func:`open_dataset` does."""
    builtin = Dataset.__dict__["import_from"]

    def import_from(cls: type[Dataset], /, path: str, format: str | None = None, **options: Any) -> Dataset:
        return _watched(builtin.__get__(None, cls), path, format, options)

    Dataset.import_from = classmethod(import_from)
    try:
        yield
    finally:
        Dataset.import_from = builtin


def _watched(import_from: Callable[..., Dataset], path: str, format: str | None, options: dict[str, Any]) -> Dataset:
    """Read a dataset; warn of pictures in its folder that it leaves out, and of a table read without pictures.

    A folder of nothing but pictures is read as ``image_dir``: Datumaro finds that ``imagenet`` fits, too, and would
    refuse to choose. A picture that is a link out of its folder fails alone.
    """
    if format is None and os.path.isdir(path):
        endings = {entry.suffix.lower() for entry in Path(path).iterdir()}
        if endings and endings <= _PICTURES:
            format = _FOLDERS[0]
    with one_link_fails_alone():
        dataset = import_from(path, format, **options)
    if dataset.format in _FOLDERS:
        again = import_from(path, dataset.format, **options)
        _tell_pictures_left(path, {os.path.abspath(item.media.path) for item in again})
    if dataset.media_type() is TableRow:
        told = "%s is read as a table without pictures; %s:clip_table has those that its columns name"
        notice(log, told, path, path)
    return dataset


def _tell_pictures_left(root: str, read: set[str]) -> None:
    """Warn of pictures below a folder that are not among those that were read."""
    left = sorted({os.path.abspath(path) for path in find_images(str(root), recursive=True)} - read)
    of_one_name = {os.path.splitext(path)[0] for path in read}
    doubles = [path for path in left if os.path.splitext(path)[0] in of_one_name]
    if doubles:
        told = "%d pictures in %s are not read, as %s: another has their name but for its ending; rename one of each"
        notice(log, told, len(doubles), root, os.path.relpath(doubles[0], root))
    if others := sorted(set(left) - set(doubles)):
        folders = sorted({os.path.relpath(os.path.dirname(path), root) for path in others})
        told = "%d pictures in folders below %s are not read (%s); %s:imagenet reads them, with each folder as a label"
        names = ", ".join(folders[:_NAMED]) + (f" and {len(folders) - _NAMED} more" if folders[_NAMED:] else "")
        notice(log, told, len(others), root, names, root)
