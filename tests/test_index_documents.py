"""What is sent of an item to an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datumaro_clip.index.documents import documents_of
from datumaro_clip.store import Header, Record, create_store, open_store
from datumaro_clip.vectors import ItemKey


@pytest.mark.parametrize(
    ("media", "name"),
    [
        ({}, ""),
        ({"path": "C:\\photos\\a.jpg"}, "a.jpg"),
        ({"file": "media/train/a.jpg"}, "a.jpg"),
        ({"archive": {"root": "/data", "archive": "x.tar", "offset": 512, "length": 1, "member": "b/a.jpg"}}, "a.jpg"),
    ],
)
def test_a_document_names_the_picture_s_file_wherever_it_is(tmp_path: Path, media: dict[str, Any], name: str):
    with create_store(tmp_path / "store", "clip_mmap", Header()) as writer:
        writer.add(Record(ItemKey("a", "train"), {"media": {"type": "image", **media}}))
    with open_store(tmp_path / "store") as store:
        assert [each.filename for each in documents_of(store, store.segments[0], 0)] == [name]
