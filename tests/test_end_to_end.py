"""The main job as a user types it, on real photos: embed, export, detect, convert back, and nothing is lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset

from datumaro_clip.store import open_store

SOURCES = {"coco_mini": ("coco", 159), "coco128_yolo": ("yolo", 128)}

# COCO's boxes and captions are files of their own, each a format that reads all of its kind.
PARTS = {"coco": ("coco_instances", "coco_captions"), "yolo": ("yolo",)}


def datum(*args: object, cwd: Path, cache: str) -> str:
    done = run_command("datum", *args, cwd=cwd, DATUMARO_CLIP_CACHE=cache)
    assert done.returncode == 0, done.stdout
    return done.stdout


def facts(annotation: object) -> tuple[object, ...]:
    """What makes two annotations the same, whatever the order that a format keeps them in."""
    shape = getattr(annotation, "points", None) or getattr(annotation, "caption", None)
    if isinstance(annotation, Mask):
        shape = annotation.image.astype(bool).tobytes()
    shape = tuple(np.round(shape, 2)) if isinstance(shape, list) else shape
    return annotation.type.name, getattr(annotation, "label", None), shape


def contents(dataset: Dataset) -> dict[tuple[str, str], tuple[bytes, list[str]]]:
    return {
        (item.id, item.subset): (item.media.data.tobytes(), sorted(repr(facts(a)) for a in item.annotations))
        for item in dataset
    }


def snapped(back: Dataset, original: Dataset) -> Dataset:
    """YOLO keeps six decimals of a fraction of the picture: boxes within a hundredth of a pixel count as equal."""
    for item in back:
        for annotation, twin in zip(item.annotations, original.get(item.id, item.subset).annotations, strict=True):
            if np.allclose(annotation.points, twin.points, atol=0.01):
                annotation.points = twin.points
    return back


@pytest.mark.parametrize(("name", "kind"), [("coco_mini", "clip_hdf5"), ("coco128_yolo", "clip_mmap")])
def test_nothing_is_lost_from_format_to_store_and_back(
    shared: Path, random_clip: Path, tmp_path: Path, name: str, kind: str
):
    source, (form, count) = shared / "data" / name, SOURCES[name]
    model = ("--model", random_clip)
    run = partial(datum, cwd=tmp_path, cache=str(tmp_path / "cache"))
    store = ("--store", "S", "--store-format", kind)
    assert f"embedded {count}," in run(
        "transform", "-t", "clip_embed", "-o", "A", f"{source}:{form}", "--", *model, *store
    )
    assert f"from the cache {count}," in run(
        "export", "-i", f"{source}:{form}", "-f", kind, "-o", "B", "--", *model, "--save-media"
    )
    assert f"Detected format: {kind}" in run("detect", "B")
    run("convert", "-i", "B", "-f", form, "-o", "C", "--", "--save-media")

    original = Dataset.import_from(str(source), form)
    stored = Dataset.import_from(str(tmp_path / "B"))
    assert stored.categories() == original.categories()
    assert contents(stored) == contents(original)
    with open_store(tmp_path / "B") as reader, open_store(tmp_path / "S") as written:
        assert len(reader) == len(written) == count
    for part in PARTS[form]:
        back, original = (Dataset.import_from(str(path), part) for path in (tmp_path / "C", source))
        if part == "yolo":
            back = snapped(back, original)
        assert contents(back) == contents(original)
