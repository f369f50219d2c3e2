"""The search service: its framework's share, searches of 100,000 vectors, throughput, cache, ingest beside searches.

``python -m benchmarks service``. Texts are embedded by the text tower of CLIP ViT-B/32 with random weights, pictures by
``tiny``. On a machine that others use, CPU time says more than wall time; ``nice -n -10`` puts this before the others,
and the load is among the figures.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import ParamSpec

import httpx
import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Figure, at_most
from benchmarks.models import model_directory
from benchmarks.texts import captions
from benchmarks.vectors import DIMENSION, clip_covariance_rows
from datumaro_clip.demo.catalogue import draw_item, sample_spec
from datumaro_clip.model.loading import load_model
from datumaro_clip.service.settings import PREFIX
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey, Provenance

P = ParamSpec("P")

ROWS = 100_000
REQUESTS = 400
PICTURES = 1000
_ZIPF_TEXTS, _ZIPF_REQUESTS, _ZIPF_CLIENTS = 10_000, 20_000, 8


def run(work: Path) -> Iterator[Figure]:
    """Measure."""
    yield _load("before")
    model = model_directory("bf16")
    with served(work, model, _store(work / "vectors", load_model(model).provenance)) as (client, process):
        cpu = partial(_cpu_seconds, process)
        yield from _framework(client, cpu)
        yield from _searches(client, cpu)
        yield from _throughput(work, client, cpu)
        yield from _zipf(client)
    for kind, pictures in (("products", _products), ("noise", _noise)):
        with served(work, "tiny", empty_store(work / kind)) as (client, process):
            yield from _uploads(client, partial(_cpu_seconds, process), kind, pictures(3 * PICTURES // 5, 0))
            yield from _ingest_beside_searches(client, kind, pictures(PICTURES, 10_000))
    yield _load("after")


def _load(when: str) -> Figure:
    return Figure("service", f"processes that wanted a processor, mean of the minute {when}", os.getloadavg()[0], "")


def _framework(client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    milliseconds, busy = _timed(REQUESTS, lambda _: client.get("/healthz"), cpu)
    yield Figure("service", "the framework's own share, median", statistics.median(milliseconds), "ms")
    yield Figure("service", "the framework's own share, CPU", busy, "ms")


def _searches(client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    queries = captions(4 * REQUESTS)
    for number, query in enumerate(queries[-REQUESTS // 4 :]):  # The first searches are slower, and not measured.
        _search(client, f"{query} {number}", {})
    passes: tuple[tuple[str, list[str], dict[str, object], float], ...] = (
        ("new text of 8 to 20 words", queries[:REQUESTS], {}, 30),
        (
            "new text of 3 words",
            [f"{' '.join(text.split()[:2])} {n}" for n, text in enumerate(queries[:REQUESTS])],
            {},
            30,
        ),
        ("known text", queries[:REQUESTS], {}, 15),
        ("known text, half filtered", queries[:REQUESTS], {"subsets": ["even"]}, 15),
        ("known text, 1 in 100", queries[:REQUESTS], {"tags": ["rare"]}, 15),
    )
    for name, texts, filters, most in passes:
        before = _stage_seconds(client)
        milliseconds, busy = _timed(len(texts), lambda i, t=texts, f=filters: _search(client, t[i], f), cpu)
        median, last = statistics.median(milliseconds), sorted(milliseconds)[int(0.99 * len(texts))]
        yield at_most("service", f"{name}, whole answer, median", median, most, "ms")
        yield Figure("service", f"{name}, whole answer, 99th percentile", last, "ms")
        yield Figure("service", f"{name}, whole answer, CPU", busy, "ms")
        for stage, total in _stage_seconds(client).items():
            mean = 1000 * (total - before.get(stage, 0.0)) / len(texts)
            figure = f"{name}, {stage}, mean"
            yield (
                at_most("service", figure, mean, 10, "ms")
                if stage == "index"
                else Figure("service", figure, mean, "ms")
            )


def _throughput(work: Path, client: httpx.Client, cpu: Callable[[], float]) -> Iterator[Figure]:
    """Searches for a hundred known texts in turn, by ``wrk``."""
    script = work / "search.lua"
    bodies = [json.dumps({"query": text, "top_k": 10}) for text in captions(100)]
    script.write_text(
        "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nlocal n = 0\n"
        f"local bodies = {{{', '.join(f'[[{body}]]' for body in bodies)}}}\n"
        "request = function() n = n + 1 return wrk.format(nil, nil, nil, bodies[n % #bodies + 1]) end\n",
        encoding="utf-8",
    )
    for clients in (1, 8, 64):
        before = cpu()
        url = client.base_url.join("/search")
        command = f"wrk -t1 -c{clients} -d10s --latency -s".split()
        told = subprocess.run([*command, script, str(url)], capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in told, told
        [rate], [count] = (re.findall(p, told) for p in (r"Requests/sec:\s+([\d.]+)", r"(\d+) requests in"))
        yield Figure("service", f"searches a second, {clients} clients", float(rate), "/s")
        yield Figure(
            "service", f"the same, CPU a search, {clients} clients", 1000 * (cpu() - before) / int(count), "ms"
        )
        for share in (50, 99):
            [(number, unit)] = re.findall(rf"{share}%\s+([\d.]+)(us|ms|s)\n", told)
            wall = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
            yield Figure("service", f"the same, {share}th percentile, {clients} clients", wall, "ms")


def _zipf(client: httpx.Client) -> Iterator[Figure]:
    """Search texts with the frequencies of Zipf's law (s = 1), by eight clients; the cache keeps 1,000 texts."""
    weights = 1 / np.arange(1, _ZIPF_TEXTS + 1)
    asked = np.random.default_rng(0).choice(_ZIPF_TEXTS, _ZIPF_REQUESTS, p=weights / weights.sum())
    texts = [f"{text} again" for text in captions(_ZIPF_TEXTS)]
    before = _counted(client, "text_cache_total", "result")
    with ThreadPoolExecutor(_ZIPF_CLIENTS) as threads:
        milliseconds = sorted(threads.map(lambda number: _milliseconds(_search, client, texts[number], {}), asked))
    after = _counted(client, "text_cache_total", "result")
    hits, misses = (after[result] - before[result] for result in ("hit", "miss"))
    assert hits + misses == _ZIPF_REQUESTS
    share = hits / _ZIPF_REQUESTS
    yield Figure("service", "Zipf s=1: texts found in the cache", share, "", share / 0.6, 1, "at least 0.6")
    for quantile in (0.5, 0.99):
        wall = milliseconds[int(quantile * _ZIPF_REQUESTS)]
        yield Figure("service", f"the same, answers, {quantile:.0%}, {_ZIPF_CLIENTS} clients", wall, "ms")


def _uploads(client: httpx.Client, cpu: Callable[[], float], kind: str, pictures: Sequence[bytes]) -> Iterator[Figure]:
    for turn, uploaders in enumerate((1, 8, 64)):
        some = pictures[turn * len(pictures) // 3 : (turn + 1) * len(pictures) // 3]
        before = cpu()
        with ThreadPoolExecutor(uploaders) as threads:
            start = time.perf_counter()
            list(threads.map(partial(_upload, client), some))
            seconds = time.perf_counter() - start
        yield Figure("service", f"{kind}: pictures a second, {uploaders} uploaders", len(some) / seconds, "/s")
        yield Figure(
            "service", f"the same, CPU a picture, {uploaders} uploaders", 1000 * (cpu() - before) / len(some), "ms"
        )


def _ingest_beside_searches(client: httpx.Client, kind: str, pictures: Sequence[bytes]) -> Iterator[Figure]:
    def searched(is_enough: Callable[[int], bool]) -> list[float]:
        milliseconds: list[float] = []
        while not is_enough(len(milliseconds)):
            text = f"red thing {len(milliseconds) % 50}"
            milliseconds.append(_milliseconds(_search, client, text, {}))
        return milliseconds

    alone = statistics.median(searched(lambda count: count >= REQUESTS))
    ended = Event()
    with ThreadPoolExecutor(3) as threads:
        beside = threads.submit(searched, lambda count: ended.is_set() and count > 0)
        list(threads.map(partial(_upload, client), pictures))
        ended.set()
        ratio = statistics.median(beside.result()) / alone
    yield Figure("service", f"{kind}: search median alone", alone, "ms")
    yield at_most("service", f"the same beside an ingest of {len(pictures)}, ratio", ratio, 2, "")


def _timed(count: int, ask: Callable[[int], object], cpu: Callable[[], float]) -> tuple[list[float], float]:
    """Return the milliseconds of each of some requests, and the server's CPU milliseconds a request."""
    before = cpu()
    milliseconds = [_milliseconds(ask, number) for number in range(count)]
    return milliseconds, 1000 * (cpu() - before) / int(count)


def _milliseconds(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    start = time.perf_counter()
    work(*args, **kwargs)
    return 1000 * (time.perf_counter() - start)


def _search(client: httpx.Client, text: str, filters: dict[str, object]) -> None:
    answer = client.post("/search", json={"query": text, "top_k": 10, **filters})
    assert answer.status_code == 200, answer.text


def _upload(client: httpx.Client, data: bytes) -> None:
    answer = client.post("/ingest/image", files={"file": data})
    assert answer.status_code == 200, answer.text


def _noise(count: int, seed: int) -> list[bytes]:
    """Return pictures of blurred noise: all different, but so similar for ``tiny`` that an ingest costs the most."""
    random = np.random.default_rng(seed)
    small = (Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8)) for _ in range(count))
    return [jpeg(image.resize((320, 240), Image.Resampling.BICUBIC)) for image in small]


def _products(count: int, seed: int) -> list[bytes]:
    """Drawn products of the catalogue."""
    return [jpeg(draw_item(sample_spec(Random(seed + number)), (320, 240))) for number in range(count)]


def jpeg(image: Image.Image) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _stage_seconds(client: httpx.Client) -> dict[str, float]:
    """Return the seconds that each stage of searches by text has taken."""
    return _counted(client, "search_seconds_sum", "stage", kind="text")


def _counted(client: httpx.Client, name: str, label: str, **given: str) -> dict[str, float]:
    """Return a metric's values by one of its labels."""
    return {
        sample.labels[label]: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == f"datumaro_clip_{name}" and given.items() <= sample.labels.items()
    }


def _store(path: Path, provenance: Provenance) -> Path:
    """Make a store of vectors like CLIP's, with subsets, tags and a caption each; the items share 300 pictures."""
    random = Random(0)
    with create_store(path, "clip_mmap", Header(dtype="float16")) as writer:
        writer.declare(provenance)
        files = [writer.media.add_bytes(data, f"{number}.jpg") for number, data in enumerate(_noise(300, 0))]
        for number, vector in enumerate(clip_covariance_rows(ROWS)):
            payload = {
                "media": {"type": "image", "file": files[number % len(files)], "size": [240, 320]},
                "annotations": [{"type": "Caption", "caption": f"the thing of number {number}"}],
                "attributes": {"tags": ["rare"] if random.random() < 0.01 else ["common"]},
            }
            writer.add(Record(ItemKey(f"item-{number:06d}", "even" if number % 2 else "odd"), payload, vector))
    return path


def empty_store(path: Path) -> Path:
    """A store of nothing."""
    with create_store(path, "clip_mmap", Header()):
        pass
    return path


@contextmanager
def served(work: Path, model: str | Path, store: Path, **settings: str | Path) -> Iterator[tuple[httpx.Client, int]]:
    """Start a service in another process, and give a client and the process id for a block.

    The model ``stand-in`` takes no memory. Settings are those of the environment, without their prefix: ``DETECTOR``.
    """
    log = work / f"{store.name}.log"
    given = {f"{PREFIX}{name}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "DATUMARO_CLIP_CACHE": str(work / "cache"), **given}
    command = [sys.executable, "-m", "benchmarks.service", str(model), str(store)]
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
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(model: str, store: str) -> None:
    """Serve a store; runs in another process."""
    from datumaro_clip.service import create_app, from_environment
    from datumaro_clip.service.running import run as serve

    logging.basicConfig(level=logging.INFO)
    settings = from_environment(port=0)
    encoder = FakeEncoder(DIMENSION) if model == "stand-in" else load_model(model, precision=settings.precision)
    serve(create_app({"store": store}, encoder, settings), settings)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
