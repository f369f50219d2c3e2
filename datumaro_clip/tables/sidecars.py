"""Folders of pictures as tables, with captions in text files beside the pictures (``x.txt`` beside ``x.jpg``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datumaro_clip.tables.rows import Refused, Row

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
_CAPTION_ENDINGS = (".txt", ".caption")


class SidecarTable:
    """The pictures below a folder, in order of their paths, with their captions.

    Line numbers count pictures, and captions without a picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: tuple[str, ...] = ("file_name", "caption")

    def __iter__(self) -> Iterator[Row | Refused]:
        line = 0
        for folder, subfolders, names in os.walk(self.path):
            subfolders.sort()
            stems = {os.path.splitext(name)[0] for name in names if is_picture(name)}
            for name in sorted(names):
                stem, ending = os.path.splitext(name)
                if is_picture(name):
                    line += 1
                    yield self._row(line, Path(folder, name))
                elif ending.lower() in _CAPTION_ENDINGS and stem not in stems:
                    line += 1
                    yield Refused(line, "no_picture", f"{Path(folder, name)} has no picture beside it")

    def _row(self, line: int, picture: Path) -> Row | Refused:
        values = {"file_name": picture.relative_to(self.path).as_posix()}
        for ending in _CAPTION_ENDINGS:
            try:
                values["caption"] = picture.with_suffix(ending).read_bytes().decode("utf-8-sig").removesuffix("\n")
                break
            except FileNotFoundError:
                continue
            except UnicodeDecodeError as exc:
                return Refused(line, "encoding", f"the caption of {picture} is no UTF-8: {exc}")
        return Row(line, values)


def is_picture(name: str) -> bool:
    """Return whether a file's name has the ending of a picture."""
    return os.path.splitext(name)[1].lower() in PICTURE_ENDINGS


def find_sidecars(path: Path) -> list[tuple[Path, str]]:
    """Return a folder with pictures or, if it has none itself, the folders directly below it as subsets."""
    if any(is_picture(entry.name) for entry in path.iterdir()):
        return [(path, "default")]
    return [(folder, folder.name) for folder in sorted(path.iterdir()) if folder.is_dir()]
