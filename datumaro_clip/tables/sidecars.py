"""Folders of pictures with their captions in text files beside them, ``x.txt`` beside ``x.jpg``, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datumaro_clip.tables.rows import Refused, Row

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
_CAPTION_ENDINGS = (".txt", ".caption")


class SidecarTable:
    """The pictures below a folder, in order of their paths, with their captions.

    Its lines are the numbers of the files that it counts: pictures, and captions without one.
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
    """Whether a file's name ends as a picture's."""
    return os.path.splitext(name)[1].lower() in PICTURE_ENDINGS


def find_sidecars(path: Path) -> list[tuple[Path, str]]:
    """A folder, or the folders directly below it where it holds no picture itself, which are subsets then."""
    if any(is_picture(entry.name) for entry in path.iterdir()):
        return [(path, "default")]
    return [(folder, folder.name) for folder in sorted(path.iterdir()) if folder.is_dir()]
