"""Memory of a service: the process, each model and precision, a detector, the index, the engines.

Its own memory is anonymous memory (RssAnon). Resident memory also counts mapped files, which the system drops when
others need the memory. Linux only; engines need the packages and the server of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import ROOT, SHARED
from benchmarks.figures import Figure
from benchmarks.index import build_opensearch, build_pgvector, make_data
from benchmarks.models import model_directory
from benchmarks.service import empty_store, jpeg, served
from benchmarks.texts import captions
from benchmarks.vectors import DIMENSION, clip_covariance_rows
from datumaro_clip.cli import main
from datumaro_clip.store import Header, ObjectVector, Record, create_store
from datumaro_clip.system.files import cache_root
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import FloatArray, ItemKey

ROWS, ENGINE_ROWS = 100_000, 10_000


def run(work: Path) -> Iterator[Figure]:
    """Measure each by itself, as an addition to the process alone."""
    empty = empty_store(work / "empty")
    nothing = _held(work, "stand-in", empty)
    yield from _figures("the process alone", nothing, (0.0, 0.0))
    for name in ("tiny", "f32", "bf16", "int8"):
        for precision in ("f32", "bf16") if name == "tiny" else (name,):
            model = name if name == "tiny" else model_directory(name)
            title = f"{'tiny' if name == 'tiny' else 'ViT-B/32'} in {precision}"
            yield from _figures(
                title, _held(work, model, empty, PRECISION="auto" if name == "int8" else precision), nothing
            )
    yield from _figures("a detector (YOLOX-nano)", _held(work, "stand-in", empty, DETECTOR=_detector()), nothing)
    vectors = clip_covariance_rows(ROWS)
    pictures = _held(work, "stand-in", _store(work / "pictures", vectors))
    yield from _figures(f"{ROWS:,} pictures of {DIMENSION} numbers in float16", pictures, nothing)
    objects = _held(work, "stand-in", _store(work / "objects", vectors, objects=1))
    yield from _figures(f"{ROWS:,} objects, one in each of them", objects, pictures)
    sys.path.append(str(ROOT / "tests"))
    data = make_data(work, ENGINE_ROWS, 100)
    for name, build in (("PostgreSQL, pgvector", build_pgvector), ("OpenSearch, heap of 512 MB", build_opensearch)):
        built = build(data, work)
        for query in data.images:
            built.search(query, None)
        [server] = built.processes
        # Memory that its processes share counts once.
        held = sum(one.memory_full_info().pss for one in (server, *server.children(recursive=True))) / 1e6
        yield Figure("footprint", f"{name}, {ENGINE_ROWS:,} vectors", held, "MB")
        server.kill()


def _figures(name: str, held: tuple[float, ...], beside: tuple[float, ...]) -> Iterator[Figure]:
    for kind, mine, theirs in zip(("its own", "resident"), held, beside, strict=True):
        yield Figure("footprint", f"{name}, {kind}", mine - theirs, "MB")


def _held(work: Path, model: str | Path, store: Path, **settings: str | Path) -> tuple[float, float]:
    """Own and resident MB of a service that has answered some searches and looked at some pictures."""
    with served(work, model, store, **settings) as (client, process):
        for number, text in enumerate(captions(50)):
            assert client.post("/search", json={"query": text}).status_code == 200
            noise = np.random.default_rng(number).integers(0, 255, (480, 640, 3), np.uint8)
            assert client.post("/analyze", files={"file": jpeg(Image.fromarray(noise))}).status_code == 200
        return _memory(process)


def _memory(process: int) -> tuple[float, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    own, resident = (int(status[name].split()[0]) / 1000 for name in ("RssAnon", "VmRSS"))
    return own, resident


def _detector() -> Path:
    """The detector of the project's test data, as a directory."""
    folder = cache_root() / "bench" / "detector"
    if not folder.is_dir():
        source = SHARED / "models" / "yolox_nano"
        options = ["--kind", "yolox", "--labels", str(source / "coco_names.json"), "-o", str(folder)]
        main(["detector", "add", str(source / "yolox_nano.onnx"), *options])
    return folder


def _store(path: Path, vectors: FloatArray, objects: int = 0) -> Path:
    """Items of a vector and a caption each, and of so many objects with vectors."""
    with create_store(path, "clip_mmap", Header(dtype="float16")) as writer:
        writer.declare(FakeEncoder(DIMENSION).provenance)
        for number, vector in enumerate(vectors):
            caption = {"type": "Caption", "caption": f"the thing of number {number}"}
            box = {"type": "Bbox", "points": [0, 0, 10, 10], "attributes": {"score": 0.5}}
            found = tuple(ObjectVector(1 + each, vector, (0, 0, 10, 10), "", 0.5) for each in range(objects))
            payload = {"annotations": [caption, *[box] * objects], "attributes": {}}
            writer.add(Record(ItemKey(f"item-{number:06d}", "train"), payload, vector, (), found))
    return path
