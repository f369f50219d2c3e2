"""The report of 10,000 photos: how large its file is, and how long a frame takes while a person scrolls through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import SHARED
from benchmarks.chromium import opened_browser
from benchmarks.figures import Figure, at_most, cpu_seconds
from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.curate.item import Item, ItemCaption
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.report import write_report
from datumaro_clip.vectors import ItemKey

ITEMS, GROUP = 10_000, 5
SIDE = 320
PHOTOS = SHARED / "data" / "coco_mini"
CAPTION = "a man in a red jacket stands beside two bicycles in front of an old house on a quiet street"
DETAIL = "an altered copy: in the same place, size and light it differs by 23 of 255 grey levels at most, at (146, 42)"
# Scrolls by so many pixels a frame for so many frames, and tells how long each took, in milliseconds.
SCROLL = """([pixels, frames]) => new Promise((resolve) => {
  const times = [];
  let before = performance.now();
  const step = (now) => {
    times.push(now - before);
    before = now;
    if (times.length > frames) return resolve(times.slice(1));
    scrollBy(0, pixels);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def run(work: Path) -> Iterator[Figure]:
    """Duplicates in groups of five, of crops of real photos with a caption each; then Chromium, without a GPU."""
    keys = [ItemKey(f"{n:012d}", "train2017") for n in range(ITEMS)]
    photos = sorted(PHOTOS.rglob("*.jpg"))
    items = [
        Item(key, ImageRequest(partial(_crop, photos[n % len(photos)], n)), captions=(ItemCaption(CAPTION, 0),))
        for n, key in enumerate(keys)
    ]
    decisions = tuple(_decision(keys, n) for n in range(ITEMS))
    log = DecisionLog("clip_dedup", {"model": "tiny"}, "sha256:0", decisions)
    written = cpu_seconds(lambda: write_report(work, log, items))
    yield Figure("report", "10,000 photos, writing it, processor time", written, "s")
    size = (work / "report.html").stat().st_size / 1e6
    yield at_most("report", "10,000 photos, file", size, 25, "MB")
    opened, frames, busy = _seen(work / "report.html")
    yield Figure("report", "10,000 photos, until the first picture", opened, "s")
    slow = float(np.percentile(frames, 95))
    yield at_most("report", "10,000 photos, frame, 95th percentile", slow, 50, "ms")
    yield Figure("report", "10,000 photos, frame, median", float(np.median(frames)), "ms")
    yield Figure("report", "10,000 photos, frame, main thread's processor time", busy, "ms")


def _crop(photo: Path, seed: int) -> npt.NDArray[np.uint8]:
    """A part of a photo of its own for each item."""
    picture = Image.open(photo).convert("RGB")
    x, y = np.random.default_rng(seed).integers(0, np.maximum(1, np.array(picture.size) - SIDE)).tolist()
    return np.asarray(picture.crop((x, y, min(x + SIDE, picture.width), min(y + SIDE, picture.height))))


def _decision(keys: list[ItemKey], n: int) -> Decision:
    group, place = divmod(n, GROUP)
    if place == 0:
        return Decision(keys[n], "keep", "representative", group=group)
    return Decision(keys[n], "drop", "near_duplicate", 14.078653, 82.392854, group, keys[group * GROUP], detail=DETAIL)


def _seen(page: Path) -> tuple[float, list[float], float]:
    """Seconds until a picture is there; milliseconds of each frame of scrolling, 300 pixels a frame; those of work."""
    with opened_browser() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector(".card img")
        opened = time.perf_counter() - start
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable")
        before = _thread_time(session)
        frames = tab.evaluate(SCROLL, [300, 400])
        busy = 1000 * (_thread_time(session) - before) / len(frames)
    return opened, frames, busy


def _thread_time(session: Any) -> float:
    """Seconds of processor time that the page's main thread took so far."""
    told = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in told if each["name"] == "ThreadTime")
