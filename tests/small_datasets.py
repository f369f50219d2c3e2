"""Datasets of a few noise pictures with a caption and a label each."""

from __future__ import annotations

import numpy as np
from datumaro.components.annotation import Caption, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.media import Image


def pixels(seed: int) -> np.ndarray:
    """A picture of large coloured tiles."""
    tiles = np.random.default_rng(seed).integers(0, 255, (6, 6, 3))
    return np.kron(tiles, np.ones((12, 12, 1))).astype(np.uint8)


def item(name: str, picture: np.ndarray | None, subset: str = "train", caption: str = "a red cat", label: int = 0):
    media = None if picture is None else Image.from_numpy(picture)
    return DatasetItem(name, subset=subset, media=media, annotations=[Label(label), Caption(caption)])


def dataset(*items: DatasetItem) -> Dataset:
    return Dataset.from_iterable(items, categories=["cat", "dog"])


def several(count: int = 6) -> Dataset:
    return dataset(*(item(f"i{n}", pixels(n), caption=f"a red cat number {n}") for n in range(count)))


def ids(found: Dataset) -> list[str]:
    return [str(each.id) for each in found]


def copies() -> Dataset:
    one = pixels(1)
    return dataset(
        item("small", one[::2, ::2]),
        item("first", one, "val", caption="first"),
        item("same", one, caption="same", label=1),
        item("mirrored", one[:, ::-1]),
        item("other", pixels(2)),
    )


class Repeating(DatasetBase):
    """Items of which several may have one id, as importers give them."""

    def __init__(self, items: list[DatasetItem]) -> None:
        super().__init__()
        self._items = items

    def __iter__(self):
        return iter(self._items)
