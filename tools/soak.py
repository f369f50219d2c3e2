"""Run mixed commands in one process for a while; fail if its memory, open files or threads grow.

    python tools/soak.py [--minutes 20] [--items 100]

prints a line now and then, and at the end by how much each figure grew: a straight line is fitted to the second half of
the rounds, and what it rises by is compared with its mean. Exits with 1 above 5%. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datumaro.cli.__main__ import main as datum
from datumaro.components.annotation import Caption
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures

from datumaro_clip.cli import main as datum_clip

MOST_GROWTH = 0.05
# Fewer rounds have no second half to speak of.
LEAST_ROUNDS = 6
LINES = 30


class Usage(NamedTuple):
    """Resident memory in MB, open files, and threads of a process."""

    memory: float
    files: int
    threads: int


def main() -> int:
    """Run rounds until the time is up; print what they leave behind."""
    parser = argparse.ArgumentParser(description="Run mixed commands in one process; fail if it grows.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--items", type=int, default=100, help="pictures to draw (default: %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-soak-") as folder:
        os.chdir(folder)
        _draw(options.items)
        usages = list(watched(60 * options.minutes, _round))
        os.chdir("/")
    return report(usages)


def report(usages: list[Usage]) -> int:
    """Print the growth of each figure over the second half of the rounds; return 1 if one grows too much, else 0."""
    if len(usages) < LEAST_ROUNDS:
        print(f"{len(usages)} rounds are too few; give more --minutes")
        return 1
    grown = {name: growth([getattr(usage, name) for usage in usages]) for name in Usage._fields}
    for name, share in grown.items():
        print(f"{name:8} {share:+7.2%}{'  GROWS' if share > MOST_GROWTH else ''}")
    return int(max(grown.values()) > MOST_GROWTH)


def growth(figures: list[float]) -> float:
    """Return the rise of a line fitted to the second half, as a share of that half's mean."""
    half = figures[len(figures) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    return float(slope * (len(half) - 1) / np.mean(half))


def watched(seconds: float, measure: Callable[[], Usage]) -> Iterator[Usage]:
    """Measure again and again until the time is up, and print a line now and then."""
    print(f"{'minutes':>8} {'rounds':>8} {'memory':>8} {'files':>8} {'threads':>8}")
    started, printed = time.monotonic(), -seconds
    count = 0
    while (passed := time.monotonic() - started) < seconds:
        usage = measure()
        count += 1
        if passed - printed >= seconds / LINES:
            printed = passed
            print(f"{passed / 60:8.1f} {count:8} {usage.memory:8.1f} {usage.files:8} {usage.threads:8}", flush=True)
        yield usage


def usage_of(process: int | str) -> Usage:
    """Return the usage of a process; ``self`` is this one."""
    root = Path(f"/proc/{process}")
    pages = int((root / "statm").read_text().split()[1])
    files, threads = (len(os.listdir(root / name)) for name in ("fd", "task"))
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, threads)


def _round() -> Usage:
    """Run each command once."""
    for source, cache in (("catalogue:coco", "cache"), ("catalogue:coco", "off"), ("damaged:image_dir", "off")):
        _run(datum, f"transform -t clip_embed -o out --overwrite {source} -- --model tiny --cache {cache}")
    for kind in ("clip_hdf5", "clip_mmap"):
        shutil.rmtree(kind, ignore_errors=True)
        _run(datum, f"export -i catalogue:coco -f {kind} -o {kind} -- --model tiny --cache cache --texts captions")
        _append(kind)
        for words in (f"search {kind} umbrella -k 3", f"verify {kind}"):
            _run(datum_clip, words)
    for words in ("cache verify --cache cache", "cache info --cache cache"):
        _run(datum_clip, words)
    _run(datum, "transform -t clip_dedup -o out --overwrite catalogue:coco -- --model tiny --cache cache")
    # A command that fails is to leave nothing behind, either.
    _run(datum_clip, "verify nowhere", status=1)
    gc.collect()
    return usage_of("self")


def _draw(items: int) -> None:
    """Draw a catalogue, and a folder of pictures some of which are damaged."""
    _run(datum_clip, f"catalogue -o catalogue --items {items}")
    Path("damaged").mkdir()
    chance = np.random.default_rng(0)
    for number, path in enumerate(sorted(Path("catalogue/images").rglob("*.jpg"))):
        data = bytearray(path.read_bytes())
        for place in chance.integers(0, len(data) or 1, 20 * (number % 2)) if data else ():
            data[place] ^= 255
        Path("damaged", f"{number}.jpg").write_bytes(data[: len(data) // (1 + number % 3)])


def _run(program: Callable[[list[str]], int], words: str, status: int = 0) -> None:
    """Run a command in this process, without its output."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            got = program(words.split())
        except SystemExit as exc:
            got = exc.code
    if got != status:
        raise SystemExit(f"{words} ended with {got}: {said.getvalue()[-1000:]}")


def _append(kind: str) -> None:
    """Add a picture to a store."""
    dataset = Dataset.import_from(kind, kind)
    picture = Image.from_numpy(np.asarray(Pictures.new("RGB", (64, 48), "red")))
    dataset.put(DatasetItem("new", media=picture, annotations=[Caption("a red square")]))
    dataset.export(kind, kind, model="tiny", cache="cache")


if __name__ == "__main__":
    sys.exit(main())
