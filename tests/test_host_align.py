"""``clip_align`` against boxes: every box counts, each in its own class, and what cannot be embedded is told."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.errors import ImageError
from datumaro_clip.host.transform import ClipAlign

pytestmark = pytest.mark.usefixtures("encoder")


def halves(name: str, *labels: int) -> DatasetItem:
    """A picture, red on its left and blue on its right, with a box around each."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 2], pixels[:, 20:, 0] = 255, 255
    boxes = [Bbox(20 * place, 0, 20, 20, label=label) for place, label in enumerate(labels)]
    return DatasetItem(name, media=Image.from_numpy(pixels), annotations=boxes)


def aligned(*items: DatasetItem, **options: object) -> Dataset:
    dataset = Dataset.from_iterable(items, categories=["red", "blue"])
    return dataset.transform(ClipAlign, against="boxes", **options)


@pytest.mark.parametrize("how", ["max", "min", "mean"])
def test_an_items_score_is_that_of_all_its_boxes(how: str) -> None:
    both = {"min_score": -1.0, "captions_score": how}
    [right], [wrong] = aligned(halves("a", 0), **both), aligned(halves("a", 1), **both)
    scores = [right.attributes["clip_score"], wrong.attributes["clip_score"]]
    mixed = halves("a", 1)
    mixed.annotations.append(Bbox(0, 0, 20, 20, label=0))
    [found] = aligned(mixed, **both)
    assert found.attributes["clip_score"] == pytest.approx(getattr(np, how)(scores), abs=1e-5)


def test_the_best_of_each_class_are_those_of_the_boxes_class() -> None:
    items = [halves(name, 0, 1) for name in "ab"] + [halves("c", 1, 1)]
    kept = aligned(*items, keep_top=0.5, per_class=True)
    labels = [note.label for item in kept for note in item.annotations]
    assert sorted(labels) == [0, 1, 1]


def test_a_box_that_cannot_be_embedded_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = DatasetItem(
        "bad", media=Image.from_file(str(tmp_path / "none.png")), annotations=[Bbox(0, 0, 5, 5, label=0)]
    )
    with caplog.at_level(logging.INFO):
        assert len(aligned(broken, halves("good", 0), min_score=-1.0)) == 2
    assert "item 'bad'" in caplog.text
    assert "failed 1 (missing 1)" in caplog.text
    with pytest.raises(ImageError, match="item 'bad'"):
        len(aligned(broken, halves("good", 0), min_score=-1.0, on_error="fail"))
