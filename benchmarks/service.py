"""The search service: its framework's share, searches of 100,000 vectors, throughput, cache, ingest beside searches.

``python -m benchmarks service``; wall times say nothing on a machine that others use, so CPU time stands beside them.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event

import httpx
import numpy as np
from PIL import Image

from benchmarks.figures import Figure
from benchmarks.vectors import DIMENSION, clip_like_rows
from datumaro_clip.service.textcache import TextCache
from datumaro_clip.store import Header, create_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace

ROWS = 100_000
REQUESTS = 400
PICTURES = 1000
_ZIPF_TEXTS, _ZIPF_REQUESTS = 10_000, 20_000


def run(work: Path) -> Iterator[Figure]:
    """Measure."""
    yield from _zipf()
    store = _store(work / "vectors", FakeEncoder(DIMENSION))
    with _served(work, "fake", store) as (client, cpu):
        yield from _framework(client, cpu)
        yield from _searches(client, cpu)
        yield from _throughput(work, client)
    with _served(work, "tiny", _empty(work / "pictures")) as (client, cpu):
        yield from _uploads(client, cpu)
        yield from _ingest_beside_searches(client)


def _zipf() -> Iterator[Figure]:
    """How often a text of a Zipf workload (s = 1) is in the cache of 1,000."""
    weights = 1 / np.arange(1, _ZIPF_TEXTS + 1)
    asked = np.random.default_rng(0).choice(_ZIPF_TEXTS, _ZIPF_REQUESTS, p=weights / weights.sum())

    async def compute(_: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.ones(1, np.float32)

    async def ask() -> TextCache:
        cache = TextCache(compute, Provenance(VectorSpace("name:x", 1), "f32", "CPU"), 1000)
        for text in asked:
            await cache.vector(str(text))
        return cache

    cache = asyncio.run(ask())
    share = cache.hits / _ZIPF_REQUESTS
    yield Figure("service", "texts found in the cache, Zipf s=1", share, "", share / 0.6, 1, "at least 0.6")


def _framework(client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    milliseconds, busy = _timed(REQUESTS, lambda _: client.get("/healthz"), cpu)
    yield Figure("service", "the framework's own share, median", statistics.median(milliseconds), "ms")
    yield Figure("service", "the framework's own share, CPU", busy, "ms")


def _searches(client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    queries = [
        f"{colour} thing {number}" for number in range(REQUESTS // 4) for colour in ("red", "blue", "green", "grey")
    ]
    before = _index_seconds(client)
    for name, filters in (("", {}), (", half filtered", {"subsets": ["even"]}), (", 1 in 100", {"tags": ["rare"]})):
        # The first pass embeds the texts; in the second they are in the cache.
        _timed(REQUESTS, lambda i, f=filters: _search(client, queries[i], f), cpu)
        milliseconds, busy = _timed(REQUESTS, lambda i, f=filters: _search(client, queries[i], f), cpu)
        median, last = statistics.median(milliseconds), sorted(milliseconds)[int(0.99 * REQUESTS)]
        yield _at_most(f"text known, whole answer, median{name}", median, 15)
        yield Figure("service", f"text known, whole answer, 99th percentile{name}", last, "ms")
        yield Figure("service", f"text known, whole answer, CPU{name}", busy, "ms")
        if not name:
            count, seconds = (after - first for after, first in zip(_index_seconds(client), before, strict=True))
            yield _at_most("the index's share, mean", 1000 * seconds / count, 10)


def _throughput(work: Path, client: httpx.Client) -> Iterator[Figure]:
    if shutil.which("wrk") is None:
        return
    script = work / "search.lua"
    body = json.dumps({"query": "red thing 1", "top_k": 10})
    script.write_text(
        f"wrk.method='POST'; wrk.body='{body}'; wrk.headers['Content-Type']='application/json'\n", encoding="utf-8"
    )
    for clients in (1, 8, 64):
        command = [
            "wrk",
            "-t1",
            f"-c{clients}",
            "-d8s",
            "--latency",
            "-s",
            str(script),
            str(client.base_url.join("/search")),
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"Requests/sec:\s+([\d.]+)", told)
        assert found is not None, told
        yield Figure("service", f"searches a second, {clients} clients", float(found[1]), "/s")


def _uploads(client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    pictures = iter(_pictures(3 * PICTURES // 5))
    for uploaders in (1, 8, 64):
        some = [next(pictures) for _ in range(PICTURES // 5)]
        start, busy = time.perf_counter(), cpu()
        with ThreadPoolExecutor(uploaders) as threads:
            list(threads.map(lambda data: _upload(client, data), some))
        yield Figure(
            "service", f"pictures a second, {uploaders} uploaders", len(some) / (time.perf_counter() - start), "/s"
        )
        yield Figure("service", f"a picture, CPU, {uploaders} uploaders", 1000 * (cpu() - busy) / len(some), "ms")


def _ingest_beside_searches(client: httpx.Client) -> Iterator[Figure]:
    def searches(stop: Callable[[int], bool]) -> float:
        milliseconds = []
        while not stop(len(milliseconds)):
            start = time.perf_counter()
            _search(client, f"red thing {len(milliseconds) % 50}", {})
            milliseconds.append(1000 * (time.perf_counter() - start))
        return statistics.median(milliseconds)

    alone = searches(lambda done: done >= REQUESTS)
    ended = Event()
    with ThreadPoolExecutor(3) as threads:
        beside = threads.submit(searches, lambda done: ended.is_set() and done > 0)
        list(threads.map(lambda data: _upload(client, data), _pictures(PICTURES, seed=10_000)))
        ended.set()
        yield Figure("service", "search median alone", alone, "ms")
        ratio = beside.result() / alone
        yield _at_most(f"the same beside an ingest of {PICTURES}, ratio", ratio, 2, "")


def _at_most(name: str, ours: float, most: float, unit: str = "ms") -> Figure:
    """A figure that is better the smaller it is."""
    return Figure("service", name, ours, unit, most / ours, 1, f"at most {most:g}")


def _timed(count: int, ask: Callable[[int], object], cpu: Callable[[], float]) -> tuple[list[float], float]:
    """Milliseconds of each of some requests, and the server's CPU milliseconds a request."""
    milliseconds, before = [], cpu()
    for number in range(count):
        start = time.perf_counter()
        ask(number)
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds, 1000 * (cpu() - before) / count


def _search(client: httpx.Client, text: str, filters: dict[str, object]) -> None:
    answer = client.post("/search", json={"query": text, "top_k": 10, **filters})
    assert answer.status_code == 200, answer.text


def _upload(client: httpx.Client, data: bytes) -> None:
    answer = client.post("/ingest/image", files={"file": data})
    assert answer.status_code == 200, answer.text


def _pictures(count: int, seed: int = 0) -> list[bytes]:
    """JPEGs of 320x240 pixels, no two alike."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        buffer = io.BytesIO()
        small = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8))
        small.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    return pictures


def _index_seconds(client: httpx.Client) -> tuple[float, float]:
    """How many searches the index has answered, and in how many seconds."""
    told = client.get("/metrics").text
    values = []
    for name in ("count", "sum"):
        pattern = rf'datumaro_clip_search_seconds_{name}{{kind="text",stage="index"}} ([\d.e+-]+)'
        found = re.search(pattern, told)
        values.append(0.0 if found is None else float(found[1]))
    return values[0], values[1]


def _store(path: Path, encoder: FakeEncoder) -> Path:
    """A store of vectors like CLIP's, with subsets, tags and a caption each."""
    from datumaro_clip.store import Record

    random = Random(0)
    with create_store(path, "clip_mmap", Header(dtype="float16")) as writer:
        writer.declare(encoder.provenance)
        for number, vector in enumerate(clip_like_rows(ROWS)):
            tags = ["rare"] if random.random() < 0.01 else ["common"]
            payload = {
                "annotations": [{"type": "Caption", "caption": f"the thing of number {number}"}],
                "attributes": {"tags": tags},
            }
            writer.add(Record(ItemKey(f"item-{number:06d}", "even" if number % 2 else "odd"), payload, vector))
    return path


def _empty(path: Path) -> Path:
    with create_store(path, "clip_mmap", Header()):
        pass
    return path


@contextmanager
def _served(work: Path, encoder: str, store: Path) -> Iterator[tuple[httpx.Client, Callable[[], float]]]:
    """A service in a process of its own: a client, and what gives the CPU seconds that it has taken."""
    log = work / f"{encoder}.log"
    environment = {**os.environ, "DATUMARO_CLIP_CACHE": str(work / "cache")}
    command = [sys.executable, "-m", "benchmarks.service", encoder, str(store)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        while not (found := re.search(r"listening on (http://[^\s\"]+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        limits = httpx.Limits(max_connections=128)
        with httpx.Client(base_url=found[1], timeout=120, trust_env=False, limits=limits) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.05)
            yield client, lambda: _cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait()


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(encoder: str, store: str) -> None:
    """What the process of its own runs."""
    from datumaro_clip.model.loading import load_model
    from datumaro_clip.service import Settings, create_app
    from datumaro_clip.service.running import run as serve

    logging.basicConfig(level=logging.INFO)
    settings = Settings(port=0)
    serve(
        create_app({"store": store}, FakeEncoder(DIMENSION) if encoder == "fake" else load_model("tiny"), settings),
        settings,
    )


if __name__ == "__main__":
    _serve(*sys.argv[1:])
