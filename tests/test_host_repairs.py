"""Datumaro writes the COCO datasets that it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from datumaro.util.mask_tools import merge_masks

from datumaro_clip.host.repairs import widened


def test_no_masks_stay_none():
    assert list(widened([])) == []
    assert merge_masks([]) is None


@pytest.mark.parametrize("index", [1, 255, 256, 900_100_538_113])
def test_merged_mask_holds_its_index_whatever_its_size(index: int):
    mask = np.array([[0, 1]], np.uint8)
    np.testing.assert_array_equal(merge_masks([(mask, index)]), [[0, index]])


def test_index_masks_pass_unchanged():
    mask = np.array([[0, 3]], np.uint8)
    assert next(widened([mask])) is mask


def test_coco_with_a_crowd_region_is_written_and_read_again(tmp_path: Path):
    crowd = Mask(np.eye(4, dtype=np.uint8), label=0, id=900_100_538_113, attributes={"is_crowd": True})
    item = DatasetItem("a", media=Image.from_numpy(np.zeros((4, 4, 3), np.uint8)), annotations=[crowd])
    Dataset.from_iterable([item], categories=["person"]).export(str(tmp_path / "out"), "coco", save_media=True)
    [back] = Dataset.import_from(str(tmp_path / "out"), "coco_instances")
    assert any(np.array_equal(one.image, crowd.image) for one in back.annotations if isinstance(one, Mask))
