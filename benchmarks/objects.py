"""Objects: one decoding for detector and encoder, crops beside ready pictures, memory, what full resolution is worth.

Times are CPU seconds of the process, since machines are shared; pairs alternate, and the median of five is told. Needs
the trained detector and the photos beside the project; with DATUMARO_CLIP_MOBILECLIP naming the folder that
``benchmarks/mobileclip.py`` made, its model's times and vectors are measured too.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import SHARED
from benchmarks.figures import Figure, cpu_seconds
from benchmarks.mobileclip import TEXTS, quarters
from benchmarks.photos import photos
from datumaro_clip.demo.catalogue.painting import paint
from datumaro_clip.demo.catalogue.spec import sample_spec
from datumaro_clip.embedding import ImageRequest, PartsRequest, embed_images, embed_parts, embed_texts
from datumaro_clip.embedding.images import find_objects
from datumaro_clip.images import Region, decode
from datumaro_clip.images.regions import Cutter
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.objects.adding import add_detector
from datumaro_clip.objects.detector import DetectionOptions, Detector
from datumaro_clip.objects.openvino import OpenVINODetector
from datumaro_clip.similarity import top_k
from datumaro_clip.vectors import FloatArray, unit_rows

PAIRS = 5
PICTURES, CROPS, A_PICTURE = 79, 1000, 50
# For a model that takes fifty times as long.
FEWER_PICTURES = 16
#: Longest sides that pictures are reduced to before objects are cut out; None is full resolution.
SIDES = (None, 1920, 640, 256)

PEAK = """
import sys
import numpy as np
from collections import deque
from benchmarks.resident import megabytes
from datumaro_clip.embedding import ImageRequest, PartsRequest, embed_parts
from datumaro_clip.images import Region
from datumaro_clip.model.loading import load_model
count = int(sys.argv[1])
corners = np.random.default_rng(0).uniform(0, 400, (count, 2)).tolist()
parts = [None, *(Region((x, y, 60.0, 60.0)) for x, y in corners)]
requests = (PartsRequest(ImageRequest(path), parts) for path in sys.argv[2:])
deque(embed_parts(requests, load_model("tiny")), 0)
print(megabytes("VmHWM"))
"""


def run(work: Path) -> Iterator[Figure]:
    """Each figure of docs/objects.md."""
    source = SHARED / "models" / "yolox_nano"
    network, labels = source / "yolox_nano.onnx", source / "coco_names.json"
    directory, _ = add_detector(network, labels, kind="yolox", directory=work / "detector")
    detector = OpenVINODetector(directory)
    paths = sorted((SHARED / "data" / "coco_mini" / "images" / "val2017").glob("*.jpg"))[:PICTURES]
    yield from _chain("tiny", load_model("tiny", precision="f32"), detector, paths)
    yield _crops(load_model("tiny", precision="f32"), photos(work, CROPS // A_PICTURE))
    yield _memory(photos(work, 20))
    if folder := os.environ.get("DATUMARO_CLIP_MOBILECLIP"):
        encoder = load_model(Path(folder) / "model", precision="f32", self_check=False)
        yield from _chain("MobileCLIP-S2", encoder, detector, paths[:FEWER_PICTURES])
        yield from _equal_to_openclip(encoder, Path(folder))
    yield from _resolution_of_drawings(load_model("tiny"))
    yield from _resolution_of_photos()


def _chain(name: str, encoder: Encoder, detector: Detector, paths: list[Path]) -> Iterator[Figure]:
    """Joint beside apart; then what each step takes, and pictures a second by the size of batches."""
    find = partial(detector.find, options=DetectionOptions())
    n = len(paths)

    def apart() -> float:
        looking = cpu_seconds(lambda: deque(find_objects(map(ImageRequest, paths), find), 0))
        embedding = cpu_seconds(lambda: deque(embed_images(map(ImageRequest, paths), encoder, exact_decode=True), 0))
        return looking + embedding - cpu_seconds(lambda: [decode(path) for path in paths])

    def joint(wanted: Callable[..., Region | None] = lambda box: None) -> float:
        requests = (PartsRequest(ImageRequest(path), (None,), find, wanted) for path in paths)
        return cpu_seconds(lambda: deque(embed_parts(requests, encoder), 0))

    apart(), joint()  # what is only done once is not measured
    pairs = [(apart(), joint()) for _ in range(PAIRS)]
    ratio = statistics.median(one / other for one, other in pairs)
    ours = statistics.median(other for _, other in pairs)
    beside = "apart, less one decoding"
    yield Figure(
        "objects", f"{name}: detector and encoder in one run", ours / n * 1e3, "ms/pict.", ratio, 1 / 1.1, beside
    )
    pictures = [decode(path) for path in paths]
    parts = [[Region((x, y, 60.0, 60.0)) for x in (0, 80, 160, 240, 320) for y in (0, 90)] for _ in paths]
    steps = {
        "decode": lambda: [decode(path) for path in paths],
        "detector": lambda: [find(picture) for picture in pictures],
        "whole vector": lambda: encoder.embed_images(pictures),
        "10 crops": lambda: [
            encoder.preprocessing(cut(part))
            for cut, each in zip(map(Cutter, pictures), parts, strict=True)
            for part in each
        ],
    }
    for step, work in steps.items():
        yield Figure("objects", f"{name}: {step}", cpu_seconds(work) / n * 1e3, "ms/pict.")
    pixels = np.stack([encoder.preprocessing(picture) for picture in pictures[:10]])
    vectors = cpu_seconds(lambda: [encoder.submit_pixels(pixels).result() for _ in range(5)]) / 5
    yield Figure("objects", f"{name}: 10 object vectors", vectors * 1e3, "ms/pict.")
    for batch in (1, 16, 64):
        requests = [PartsRequest(ImageRequest(path), (None,), find) for path in paths]
        start, cpu = time.perf_counter(), time.process_time()
        deque(embed_parts(requests, encoder, batch_size=batch), 0)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        beside = f"{cpu / n * 1e3:.0f} CPU ms a picture; wanted 50/s, 20 ms"
        yield Figure("objects", f"{name}: whole chain, batches of {batch}", n / wall, "pict./s", against=beside)


def _crops(encoder: Encoder, paths: list[Path]) -> Figure:
    """A thousand crops of large files beside as many pictures of the same pixels, ready in memory."""
    chance = np.random.default_rng(0)
    corners = chance.uniform(0, (580, 420), (len(paths), A_PICTURE, 2))
    parts = [[Region((x, y, 60.0, 60.0)) for x, y in each.tolist()] for each in corners]
    ready = [
        np.asarray(part.cut_from(picture))
        for picture, each in zip(map(decode, paths), parts, strict=True)
        for part in each
    ]

    def of_ready() -> float:
        return cpu_seconds(lambda: deque(embed_images(map(ImageRequest, ready), encoder), 0))

    def of_files() -> float:
        requests = (PartsRequest(ImageRequest(path), each) for path, each in zip(paths, parts, strict=True))
        return cpu_seconds(lambda: deque(embed_parts(requests, encoder), 0))

    of_ready(), of_files()
    pairs = [(of_ready(), of_files()) for _ in range(PAIRS)]
    ratio = statistics.median(one / other for one, other in pairs)
    ours = CROPS / statistics.median(other for _, other in pairs)
    return Figure(
        "objects", f"tiny: {CROPS:,} crops of {len(paths)} files", ours, "crops/CPU s", ratio, 0.9, "pictures ready"
    )


def _memory(paths: list[Path]) -> Figure:
    few, many = (_peak(count, paths) for count in (10, 500))
    beside = f"10 boxes a picture, {few:.0f} MB"
    return Figure("objects", f"{len(paths)} pictures of 500 boxes each", many, "MB", few / many, 1 / 1.25, beside)


def _peak(count: int, paths: list[Path]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(count), *map(str, paths)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def _equal_to_openclip(encoder: Encoder, folder: Path) -> Iterator[Figure]:
    """The least cosine similarity of vectors with those that OpenCLIP computes of the same."""
    truth = np.load(folder / "truth.npz")
    shown = list(np.load(folder / "pictures.npz").values())
    parts = [[None, *(Region(tuple(map(float, box))) for box in quarters(each.shape[1::-1]))] for each in shown]
    found = list(embed_parts((PartsRequest(ImageRequest(a), b) for a, b in zip(shown, parts, strict=True)), encoder))
    rows = np.stack([[part.vector for part in each.results] for each in found])
    ours = {"pictures": rows[:, 0], "crops": rows[:, 1:], "texts": embed_texts(TEXTS, encoder)}
    for name, vectors in ours.items():
        yield Figure(
            "objects",
            f"MobileCLIP-S2: {name}",
            float((vectors * truth[name]).sum(-1).min()),
            "cosine",
            against="open_clip",
        )


# The value of full resolution: how often the nearest other object is of the same class.


def _resolution_of_drawings(encoder: Encoder) -> Iterator[Figure]:
    """Scenes of 3840×2160 pixels with 40 things of 60 to 140 pixels each."""
    chance = random.Random(5)
    scenes = [_drawn_scene(chance) for _ in range(8)]
    labels = np.array([label for _, things in scenes for label, _ in things])
    for side in SIDES:
        parts = [[Region(box, max_side=side) for _, box in things] for _, things in scenes]
        requests = [PartsRequest(ImageRequest(picture), each) for (picture, _), each in zip(scenes, parts, strict=True)]
        vectors = np.stack([one.vector for found in embed_parts(requests, encoder) for one in found.results])
        told = "full resolution" if side is None else f"reduced to {side} pixels"
        yield Figure("objects", f"drawn scenes, {told}: nearest is of its class", _same_class(vectors, labels), "share")


def _drawn_scene(chance: random.Random) -> tuple[np.ndarray, list[tuple[str, tuple[float, float, float, float]]]]:
    """A picture, and the kind and box of each thing in it."""
    picture = Image.new("RGB", (3840, 2160), (150, 150, 145))
    things = []
    for place in chance.sample(range(16 * 9), 40):
        side = chance.randint(60, 140)
        spec = sample_spec(chance)
        x, y = 240 * (place % 16) + chance.randint(0, 90), 240 * (place // 16) + chance.randint(0, 90)
        picture.paste(paint(spec, (side, side)).image, (x, y))
        things.append((spec.kind, (float(x), float(y), float(side), float(side))))
    return np.asarray(picture), things


def _resolution_of_photos() -> Iterator[Figure]:
    """The photos' own boxes of 12 to 64 pixels; by their pixels' similarity, since no trained model is at hand."""
    from datumaro.components.annotation import Bbox
    from datumaro.components.dataset import Dataset

    data = Dataset.import_from(str(SHARED / "data" / "coco_mini"), "coco_instances")
    small = [
        (item.media.path, note)
        for item in data
        for note in item.annotations
        if isinstance(note, Bbox) and min(note.w, note.h) >= 12 and max(note.w, note.h) <= 64
    ]
    labels = np.array([note.label for _, note in small])
    pictures = {path: decode(path) for path in {path for path, _ in small}}
    for side in (None, 256, 128):
        cutters = {path: Cutter(picture) for path, picture in pictures.items()}
        rows = []
        for path, note in small:
            part = cutters[path](Region((note.x, note.y, note.w, note.h), max_side=side))
            pixels = np.asarray(part.resize((24, 24), Image.Resampling.BICUBIC), np.float32)
            rows.append((pixels - pixels.mean()).ravel() + 1e-3)
        told = "as they are (at most 640)" if side is None else f"reduced to {side} pixels"
        score = _same_class(unit_rows(np.stack(rows)), labels)
        yield Figure(
            "objects", f"photos, {told}: nearest is of its class", score, "share", against=f"{len(small)} boxes"
        )


def _same_class(vectors: FloatArray, labels: np.ndarray) -> float:
    """Share of rows whose most similar other row has the same label."""
    nearest = top_k(vectors, vectors, 2)[0]
    others = np.where(nearest[:, 0] == np.arange(len(labels)), nearest[:, 1], nearest[:, 0])
    return float((labels[others] == labels).mean())
