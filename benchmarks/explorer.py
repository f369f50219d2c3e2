"""The explorer's page in Chromium without a graphics card: frames, first paint, clicks, decisions.

``python -m benchmarks explorer``; needs the extras ``serve`` and ``test-browser``, and Debian's Chromium. The pictures
are 300 drawn ones; the vectors and the places of 100,000 and of 1,000,000 items are drawn around theirs. Frames are the
browser's own, so that wall time is what is measured: on a machine that does nothing else, or at least from a shell that
the system prefers, ``echo -10 > /proc/self/autogroup``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.chromium import opened_browser
from benchmarks.figures import Figure
from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.explorer.map import keep_map
from datumaro_clip.index import PICTURES, open_index
from datumaro_clip.similarity.layout import Points, lay_out
from datumaro_clip.store import Record, create_store, open_store
from datumaro_clip.vectors import FloatArray, ItemKey, unit_rows

DRAWN, SIZES, FRAMES = 300, (100_000, 1_000_000), 120
# The spread of the vectors made from one picture, and of their places, as a share of the map's width.
_SPREAD, _APART = 0.5, 0.02
# The longest frames allowed, in milliseconds: the median at 100,000 points (60 Hz); the 95th percentile at a million.
_SMOOTH, _LONGEST = 17, 100

# Milliseconds from frame to frame while something moves; the canvas gets the events of a mouse.
_MOVED = """async ([kind, frames]) => {
  const canvas = document.querySelector(".map canvas");
  const box = canvas.getBoundingClientRect();
  const at = (x) => ({pointerId: 1, clientX: box.left + x, clientY: box.top + box.height / 2, bubbles: true});
  canvas.setPointerCapture = () => {};
  if (kind === "drag") canvas.dispatchEvent(new PointerEvent("pointerdown", at(300)));
  const found = [];
  let last = await new Promise(requestAnimationFrame);
  for (let frame = 0; frame < frames; frame++) {
    const there = 300 + 200 * Math.sin(frame / 12);
    if (kind === "drag") canvas.dispatchEvent(new PointerEvent("pointermove", at(there)));
    if (kind === "zoom") canvas.dispatchEvent(new WheelEvent("wheel",
      {...at(box.width / 2), deltaY: frame < frames / 2 ? -60 : 60, cancelable: true}));
    if (kind === "scroll") document.querySelector(".gallery .scroll").scrollTop += 300;
    const now = await new Promise(requestAnimationFrame);
    found.push(now - last);
    last = now;
  }
  if (kind === "drag") canvas.dispatchEvent(new PointerEvent("pointerup", at(300)));
  return found;
}"""

# Milliseconds from a click to the end of the frame that shows its effect, as in the browser's event timing.
_CLICKED = """async (selector) => {
  const target = document.querySelector(selector);
  const begin = performance.now();
  target.click();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begin;
}"""


_SELECT_ALL = ".bar .toggle[title=a]"
_CHANGED = "(before) => document.querySelectorAll('.top > button')[1].innerText !== before"


def run(work: Path) -> Iterator[Figure]:
    """Measure both sizes."""
    drawn = _drawn(work)
    for count in SIZES:
        store = _store(work / f"store-{count}", drawn, count)
        _propose(store)
        with _served(store, work / "catalogue") as address:
            yield from _seen(address, count)
        shutil.rmtree(store)


def _seen(address: str, count: int) -> Iterator[Figure]:
    """Measure what a person waits for on a page."""

    def figure(name: str, milliseconds: float, goal: float | None = None) -> Figure:
        ratio = None if goal is None else goal / milliseconds
        against = "" if goal is None else f"at most {goal:.0f} ms"
        return Figure("explorer", f"{count:,} items, {name}", milliseconds, "ms", ratio, goal and 1, against)

    with opened_browser() as browser:
        for again in ("", ", opened again"):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(f"{address}/explore")
            page.wait_for_selector(".tile img", timeout=600_000)
            tile = page.evaluate("performance.now()")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            yield figure(f"first paint{again}", paint, 1000)
            yield figure(f"first picture{again}", tile)
        page.wait_for_timeout(3000)
        for kind in ("drag", "zoom", "scroll"):
            frames = np.array(page.evaluate(_MOVED, [kind, FRAMES]))
            is_many = count > 100_000
            yield figure(f"a frame, {kind}, median", float(np.median(frames)), None if is_many else _SMOOTH)
            yield figure(
                f"a frame, {kind}, 95th percentile", float(np.quantile(frames, 0.95)), _LONGEST if is_many else None
            )
        page.wait_for_timeout(3000)
        for name, selector in (
            ("a filter", ".facet input[type=checkbox]"),
            ("a picture", ".tile"),
            ("a switch", ".bar .toggle[aria-pressed]"),
            ("select all", _SELECT_ALL),
        ):
            found = [page.evaluate(_CLICKED, selector) for _ in range(8)]
            yield figure(f"click on {name} to paint, median", float(np.median(found)), 100)
        for place, room in enumerate(("Duplicates", "Review", "Statistics", "Compare"), start=2):
            found = []
            for _ in range(5):
                found.append(page.evaluate(_CLICKED, f".rooms button:nth-child({place})"))
                page.wait_for_timeout(500)
                page.evaluate(_CLICKED, ".rooms button:first-child")
                page.wait_for_timeout(500)
            yield figure(f"click on the room {room} to paint, median", float(np.median(found)), 100)
        yield from (figure(name, took) for name, took in _decided(page))


def _decided(page: Any) -> Iterator[tuple[str, float]]:
    """Milliseconds until decisions are shown, each of which the service has written down by then."""
    button = page.locator(".top > button").nth(1)
    for name, selector, key in (
        ("one picture is dropped", ".tile", "x"),
        ("that is undone", None, "u"),
        ("all are dropped", _SELECT_ALL, "x"),
        ("all are undone", None, "u"),
    ):
        if selector:
            page.locator(selector).first.click()
        before, begin = button.inner_text(), time.perf_counter()
        page.keyboard.press(key)
        page.wait_for_function(_CHANGED, arg=before, timeout=600_000)
        yield f"until {name}", (time.perf_counter() - begin) * 1000


@contextmanager
def _served(store: Path, pictures: Path) -> Iterator[str]:
    """The command as a person runs it."""
    command = [sys.executable, "-m", "datumaro_clip.cli", "explore", str(store), "--media-root", str(pictures)]
    process = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split("/explore")[0]
        while True:
            try:
                urllib.request.urlopen(f"{address}/readyz", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.kill()
        process.wait()


class _Drawn(NamedTuple):
    """The records and header of a drawn catalogue's store, and the places of its pictures on a map."""

    records: list[Record]
    header: Any
    places: Points


def _drawn(work: Path) -> _Drawn:
    cli = [sys.executable, "-m", "datumaro_clip.cli"]
    for words in (
        ["catalogue", "-o", "catalogue", "--items", str(DRAWN)],
        ["embed", "catalogue:coco", "--model", "tiny", "-f", "clip_mmap", "-o", "drawn", "--show", "0"],
    ):
        subprocess.run([*cli, "-q", *words], cwd=work, check=True, stdout=subprocess.DEVNULL)
    store = open_store(work / "drawn")
    records = [record for record in store.records() if record.embedding is not None]
    vectors = np.stack([np.asarray(record.embedding, np.float32) for record in records])
    return _Drawn(records, store.header, lay_out(vectors))


def _store(path: Path, drawn: _Drawn, count: int) -> Path:
    """A store of items, each a drawn picture again with a vector and a place near its own, drawn with seed 0."""
    rng = np.random.default_rng(0)
    of = rng.integers(0, len(drawn.records), count)
    vectors: FloatArray = np.stack([np.asarray(record.embedding, np.float32) for record in drawn.records])
    with create_store(path, "clip_mmap", drawn.header) as writer:
        for start in range(0, count, 10_000):
            some = of[start : start + 10_000]
            noise = rng.normal(0, _SPREAD / np.sqrt(vectors.shape[1]), (len(some), vectors.shape[1]))
            moved = unit_rows((vectors[some] + noise).astype(np.float32))
            for number, (one, vector) in enumerate(zip(some.tolist(), moved, strict=True), start=start):
                record = drawn.records[one]
                writer.add(Record(ItemKey(f"{record.key.id}-{number}", record.key.subset), record.payload, vector))
    snapshot = open_index(path).refresh()
    order = np.array([int(snapshot.store.key(row).id.rpartition("-")[2]) for row in snapshot.targets[PICTURES].items])
    width = float(np.ptp(drawn.places[:, 0]))
    keep_map(snapshot, (drawn.places[of[order]] + rng.normal(0, _APART * width, (count, 2))).astype(np.float32))
    return path


def _propose(store: Path) -> None:
    """Write proposals for review: 2,500 groups of three, and 6,000 outliers, drawn with seed 1."""
    reader = open_store(store)
    keys = [reader.key(row) for row in np.random.default_rng(1).choice(len(reader), 13_500, replace=False)]
    copies = [Decision(key, "keep", group=group) for group, key in enumerate(keys[:2500])]
    for at, key in enumerate(keys[2500:7500]):
        keeper = copies[at % 2500].key
        copies.append(Decision(key, "drop", "near_duplicate", group=at % 2500, representative=keeper, score=0.97))
    outliers = [Decision(key, "drop", "outlier", score=0.2, threshold=0.45) for key in keys[7500:]]
    folder = store.with_name(f"{store.name}-decisions")
    folder.mkdir()
    for tool, told in (("clip_dedup", copies), ("clip_outliers", outliers)):
        write_decisions(folder / f"proposals-{tool}.jsonl", DecisionLog(tool, {}, None, tuple(told)))


def main() -> None:
    """Measure a page that is served already: ``python -m benchmarks.explorer ADDRESS COUNT``."""
    for figure in _seen(sys.argv[1], int(sys.argv[2])):
        print(json.dumps({"name": figure.name, "ms": round(figure.ours, 1), "verdict": figure.verdict}), flush=True)


if __name__ == "__main__":
    main()
