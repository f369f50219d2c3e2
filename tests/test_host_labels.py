"""The evidence that a dataset has of its labels' meaning."""

from __future__ import annotations

import numpy as np
from datumaro.components.annotation import Bbox, Caption
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.host.labels import label_source
from datumaro_clip.host.sources import Named
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import unit_rows

COLOURS = ((220, 20, 20), (20, 20, 220))


def shelves(count: int) -> Named:
    """Pictures whose left half is red and a cup, and whose right half is blue and a plate."""
    pixels = np.repeat(np.array([COLOURS], np.uint8), 20, axis=1).repeat(40, axis=0)
    items = [
        DatasetItem(
            f"{number}",
            media=Image.from_numpy(np.roll(pixels, number, axis=2)[..., ::-1]),  # Datumaro has blue first
            annotations=[Caption("a shelf"), Bbox(0, 0, 20, 40, label=0), Bbox(20, 0, 20, 40, label=1)],
        )
        for number in range(count)
    ]
    return Named("shelves", Dataset.from_iterable([*items, DatasetItem("none")], categories=["cup", "plate", "fork"]))


def test_without_a_model_there_are_the_boxes_of_each_picture():
    source = label_source(shelves(2))
    assert (source.name, source.labels, source.prototypes) == ("shelves", ("cup", "plate", "fork"), {})
    assert [[box.label for box in boxes] for boxes in source.pictures.values()] == [["cup", "plate"]] * 2


def test_a_labels_prototype_is_the_mean_direction_of_its_crops(encoder: FakeEncoder):
    source = label_source(shelves(2), RunModel(EmbeddingOptions()))
    assert set(source.prototypes) == {"cup", "plate"}
    crops = [np.full((40, 20, 3), colour, np.uint8) for colour in (COLOURS[0], np.roll(COLOURS[0], 1))]
    mean = unit_rows(encoder.embed_images(crops).mean(axis=0, keepdims=True))[0]
    np.testing.assert_allclose(source.prototypes["cup"], mean, atol=1e-5)
