"""Small datasets with vectors, and stores of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datumaro.components import annotation as dm
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

import datumaro_clip
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding, unit_rows

datumaro_clip.register()

SPACE = "sha256:" + "7" * 64


def vector(i: int, space: str = SPACE, precision: str = "f32", dimension: int = 16) -> Embedding:
    row = unit_rows(np.random.default_rng(i).standard_normal((1, dimension)))[0]
    return Embedding(row, space, "fake", precision)


def picture(i: int) -> Image:
    return Image.from_numpy(np.random.default_rng(i).integers(0, 256, (8, 9, 3), dtype=np.uint8))


def make_items(count: int, **attributes: Any) -> list[DatasetItem]:
    return [
        DatasetItem(
            f"item {i}",
            subset=("train", "val")[i % 2],
            media=picture(i),
            annotations=[dm.Bbox(1, 2, 3, 4, label=0, id=i, attributes={"a": (i, None)}), dm.Caption(f"ü {i}")],
            attributes={EMBEDDING_ATTRIBUTE: vector(i), "n": i, **attributes},
        )
        for i in range(count)
    ]


def make_dataset(items: list[DatasetItem], **options: Any) -> Dataset:
    return Dataset.from_iterable(items, infos={"by": "us"}, categories=["cat", "dog"], **options)


def stored(path: Path, kind: str, items: list[DatasetItem], **options: Any) -> Path:
    make_dataset(items).export(str(path), kind, **{"no_embed": True, "save_media": True, **options})
    return path


def read(path: Path) -> Dataset:
    return Dataset.import_from(str(path))
