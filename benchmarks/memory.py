"""Peak memory of embedding and exporting twelve times as many pictures, each in a process of its own. Linux only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.photos import photos
from datumaro_clip.store import kind_names

FEW, MANY = 1000, 12_000
SIZE = (96, 96)
#: The peak may be this much above that of few pictures.
MOST_GROWTH = 1.1

READ = """
import sys
from datumaro.components.dataset import Dataset
data = Dataset.import_from(sys.argv[1], "image_dir")
items = list(data)
"""
EMBED = """
import sys
from collections import deque
from pathlib import Path
from datumaro_clip import load_model
from datumaro_clip.embedding import ImageRequest, embed_images
deque(embed_images(map(ImageRequest, sorted(Path(sys.argv[1]).iterdir())), load_model("tiny")), 0)
"""
EXPORT = READ + 'data.export(sys.argv[2], sys.argv[3], model="tiny", save_media=True, cache="off")\n'
PEAK = """
from benchmarks.resident import megabytes
print(megabytes("VmHWM"))
"""


def run(work: Path) -> Iterator[Figure]:
    """Embedding; then exporting to each kind of store, less what Datumaro takes to read the same items."""
    few, many = (_pictures(work, count) for count in (FEW, MANY))
    yield _figure(f"embed {MANY:,} pictures", _peak(EMBED, few), _peak(EMBED, many))
    for kind in kind_names():
        peaks = [_peak(EXPORT, p, str(work / f"{kind}-{p.name}"), kind) - _peak(READ, p) for p in (few, many)]
        yield _figure(f"{kind}: export them, beyond Datumaro", *peaks)


def _pictures(work: Path, count: int) -> Path:
    folder = work / f"pictures-{count}"
    folder.mkdir()
    photos(folder, count, SIZE)
    return folder / "photos"


def _figure(name: str, few: float, many: float) -> Figure:
    beside = f"{FEW:,} pictures, {few:.0f} MB"
    return Figure("memory", name, many, "MB", few / many, 1 / MOST_GROWTH, beside)


def _peak(program: str, *arguments: str | Path) -> float:
    """The most MB that a program held in memory."""
    command = [sys.executable, "-c", program + PEAK, *map(str, arguments)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return float(printed.split()[-1])
