"""Payloads and annotations that mean nothing are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datumaro.components import annotation as dm
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import StoreCorruptError, StoreWriteError
from datumaro_clip.host.codec.items import ItemDecoder, ItemEncoder
from datumaro_clip.store import MediaFolder
from datumaro_clip.vectors import ItemKey


def test_a_foreign_annotation_is_refused_by_name(tmp_path: Path) -> None:
    class Foreign(dm.Annotation):
        pass

    item = DatasetItem("i", subset="train", annotations=[Foreign()])
    with pytest.raises(StoreWriteError, match=r"item 'i' \(subset 'train'\).*Foreign"):
        ItemEncoder(MediaFolder(tmp_path), save_media=False).encode(item)


@pytest.mark.parametrize("file", ["../a.jpg", "media/../../a.jpg", "/etc/passwd", "media", "segment-000001/a.npy"])
def test_a_reference_that_leaves_the_store_is_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(StoreCorruptError, match="not inside media/"):
        ItemDecoder(tmp_path).decode(ItemKey("a", "b"), {"media": {"type": "image", "file": file}})


@pytest.mark.parametrize(
    "payload",
    [
        {"media": {"type": "exec"}},
        {"media": {"type": "roi_image", "path": "a"}},
        {"annotations": [{"type": "system"}]},
        {"annotations": [{"type": "Mask", "image": {"$": "rle", "size": [2**40, 2**40], "v": "x"}}]},
        {"annotations": ["Bbox"]},
        {"attributes": {"$": "pickle"}},
    ],
)
def test_a_payload_that_means_nothing_is_named(payload: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StoreCorruptError, match="item a@b"):
        ItemDecoder(tmp_path).decode(ItemKey("a", "b"), payload)


def test_a_key_that_climbs_is_refused(tmp_path: Path) -> None:
    """Datumaro refuses such an id; a store that has one is not trusted."""
    with pytest.raises(StoreCorruptError):
        ItemDecoder(tmp_path).decode(ItemKey("../a", "b"), {})
