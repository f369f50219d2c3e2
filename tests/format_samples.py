"""A small dataset for each of Datumaro's exporters, with what that format can keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from datumaro.components import annotation as dm
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, PointCloud, Table, TableRow
from datumaro.plugins.data_formats.voc.format import VocTask, make_voc_categories

SUBSETS = ("train", "val")
# Names that differ between the exporter and the importer that reads what it writes.
EXPORTERS = {"mvtec_classification": "mvtec"}
IMPORTERS = {"mot_seq_gt": "mot_seq", "mots_png": "mots", "yolo_ultralytics": "yolo"}
EXPORT_OPTIONS: dict[str, dict[str, Any]] = {
    "ava": {"save_dataset_meta": True},
    "voc_action": {"label_map": "voc_action"},
    "voc_layout": {"label_map": "voc_layout"},
}

LABELS = dm.AnnotationType.label


def picture(i: int, size: tuple[int, ...] = (24, 32, 3)) -> Image:
    """The i-th picture: noise, so that no two are alike."""
    return Image.from_numpy(np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8))


def blob(i: int) -> np.ndarray:
    mask = np.zeros((24, 32), bool)
    mask[4 : 10 + i, 5:15] = True
    return mask


def categories() -> dict[dm.AnnotationType, dm.Categories]:
    points = dm.PointsCategories()
    for label in (0, 1):
        points.add(label, ["left", "right"])
    return {
        LABELS: dm.LabelCategories.from_iterable(["cat", "dog"]),
        dm.AnnotationType.mask: dm.MaskCategories.generate(2, include_background=False),
        dm.AnnotationType.points: points,
    }


def everything(i: int) -> list[dm.Annotation]:
    """Annotations of the kinds that most formats know; each format keeps its own."""
    label = i // 2
    return [
        dm.Label(label),
        dm.Bbox(2, 3, 10, 8, label=label, id=1, group=1, attributes={"occluded": False, "track_id": i}),
        dm.Mask(blob(i), label=label, id=2, group=2, attributes={"track_id": i, "index": 0, "text": "t"}),
        dm.Polygon([1, 1, 10, 1, 10, 10], label=label, id=3, group=3),
        dm.Caption(f"thing {i}", id=4),
        dm.Points([3, 4, 8, 9], [2, 2], label=label, id=5, group=1),
    ]


def dataset(
    annotate: Callable[[int], list[dm.Annotation]] = everything,
    name: Callable[[int], str] = "img{}".format,
    media: Callable[[int], Any] = picture,
    kinds: dict[dm.AnnotationType, dm.Categories] | None = None,
    attributes: dict[str, Any] | None = None,
) -> Dataset:
    """Four items in two subsets, both with both labels."""
    items = [
        DatasetItem(
            name(i),
            subset=SUBSETS[i % 2],
            media=media(i),
            annotations=annotate(i),
            attributes={"id": i + 1, "frame": i, **(attributes or {})},
        )
        for i in range(4)
    ]
    return from_items(items, categories() if kinds is None else kinds)


def from_items(items: Iterable[DatasetItem], kinds: dict[dm.AnnotationType, dm.Categories]) -> Dataset:
    items = list(items)
    media_type = next((base for base in (PointCloud, TableRow) if isinstance(items[0].media, base)), Image)
    return Dataset.from_iterable(items, categories=kinds, media_type=media_type)


def voc(task: VocTask) -> Dataset:
    """People that act and have parts, as VOC labels them."""
    kinds = make_voc_categories(task=task)
    label = kinds[LABELS].find("person")[0]
    head = kinds[LABELS].find("head")[0]

    def annotate(i: int) -> list[dm.Annotation]:
        person = dm.Bbox(2, 3, 10, 8, label=label, id=1, group=1, attributes={"running": True, "difficult": False})
        return [person] if head is None else [person, dm.Bbox(3, 3, 4, 4, label=head, group=1, id=2)]

    return dataset(annotate, kinds=kinds)


def clouds() -> Dataset:
    """Point clouds with a picture beside them."""
    shape = dm.Cuboid3d([1, 2, 3], [0, 0, 0.5], [1, 2, 1], label=0, id=1, attributes={"track_id": 1, "occluded": False})

    def media(i: int) -> PointCloud:
        return PointCloud.from_bytes(b"cloud %d" % i, extra_images=[picture(i)])

    labels = dm.LabelCategories.from_iterable(["cat"])
    labels.attributes = {"occluded"}
    labels.items[0].attributes = {"track_id"}
    return dataset(lambda i: [shape], "{:010d}".format, media, {LABELS: labels}, {"name": "a", "description": ""})


def table() -> Dataset:
    """The rows of two tables."""
    tables = [Table.from_list([{"n": i, "x": i / 4, "t": f"row {i}"} for i in range(2)]) for _ in SUBSETS]
    items = [
        DatasetItem(f"{row.index}@{subset}", subset=subset, media=row, annotations=[dm.Tabular({"t": f"t{row.index}"})])
        for rows, subset in zip(tables, SUBSETS, strict=True)
        for row in rows
    ]
    return from_items(items, {dm.AnnotationType.tabular: dm.TabularCategories.from_iterable([("t", str)])})


def text_masks(i: int) -> list[dm.Annotation]:
    attributes = {"index": 0, "text": "a", "color": "255 0 0", "center": "9 7"}
    return [dm.Mask(blob(0), label=None, group=0, attributes=attributes)]


def faces(i: int) -> list[dm.Annotation]:
    twin = (i + 2) % 4
    return [dm.Label(0, attributes={"positive_pairs": [f"cat/cat_{twin:04d}"]}), dm.Points([1, 2] * 5, label=0)]


def digits(i: int) -> Image:
    return picture(i, (28, 28))


SAMPLES: dict[str, Callable[[], Dataset]] = {
    "ava": lambda: dataset(name="video/{:04d}".format),
    "dota": lambda: dataset(lambda i: [dm.RotatedBbox(12, 10, 8, 4, 30, label=i // 2, id=1)]),
    "icdar_text_segmentation": lambda: dataset(text_masks),
    "kitti_raw": clouds,
    "lfw": lambda: dataset(faces, "cat_{:04d}".format),
    "mnist": lambda: dataset(media=digits),
    "mnist_csv": lambda: dataset(media=digits),
    "sly_pointcloud": clouds,
    "tabular": table,
    "voc_action": lambda: voc(VocTask.voc_action),
    "voc_layout": lambda: voc(VocTask.voc_layout),
}
for _name in ("mvtec", "mvtec_classification", "mvtec_detection", "mvtec_segmentation"):
    SAMPLES[_name] = lambda: dataset(lambda i: everything(i)[:3], "cat/img{}".format)


def write_sample(name: str, folder: Path) -> Dataset:
    """Export a format's sample and import it again: what that format keeps."""
    sample, options = SAMPLES.get(name, dataset)(), EXPORT_OPTIONS.get(name, {})
    sample.export(str(folder), EXPORTERS.get(name, name), save_media=True, **options)
    return Dataset.import_from(str(folder), IMPORTERS.get(name, name))
