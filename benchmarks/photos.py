"""JPEG files of the size of common photos, drawn."""

from __future__ import annotations

import random
from pathlib import Path

from datumaro_clip.demo.catalogue.painting import draw_item
from datumaro_clip.demo.catalogue.spec import sample_spec

SIZE = (640, 480)
_DRAWN = 40


def photos(work: Path, count: int, size: tuple[int, int] = SIZE) -> list[Path]:
    """Paths of ``count`` files, no two of the same bytes; made once for all parts of a run that share ``work``."""
    folder = work / "photos"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index}.jpg" for index in range(count)]
    chance = random.Random(0)
    drawn = [draw_item(sample_spec(chance), size) for _ in range(_DRAWN)] if not paths[-1].exists() else []
    for index, path in enumerate(paths if drawn else []):
        drawn[index % _DRAWN].save(path, quality=92, comment=str(index).encode())
    return paths
