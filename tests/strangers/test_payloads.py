"""Payloads of stores that somebody else wrote: refused by the item's name, never memory that is not the store's.

A payload is data. What it says of sizes, types and files is checked before anything is allocated, opened or returned.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components import annotation as dm
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.cli import main
from datumaro_clip.errors import StoreCorruptError, StoreWriteError
from datumaro_clip.host.codec.items import ItemDecoder
from datumaro_clip.host.codec.masks import decode_mask, encode_mask
from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.vectors import ItemKey


def array(shape: Any, dtype: Any = "<f4", data: bytes = b"") -> dict[str, Any]:
    return {"$": "array", "dtype": dtype, "shape": shape, "v": base64.b64encode(data).decode()}


def nested(value: Any, times: int) -> Any:
    for _ in range(times):
        value = {"$": "tuple", "v": [value]}
    return value


VALUES = {
    "memory that nobody wrote": array([100_000]),
    "more rows than bytes": array([3], data=bytes(8)),
    "a negative side": array([-1], data=b""),
    "a shape that is no list": array("4", data=bytes(16)),
    "a side that is no number": array([2.0], data=bytes(8)),
    "more than fits any memory": array([10**11], data=bytes(8)),
    "elements of no size": array([5], "|S0"),
    "objects": array([1], "|O", bytes(8)),
    "records": array([1], "i4,i4", bytes(8)),
    "a type that is a list": array([1], [["a", "i4"]], bytes(4)),
    "no type at all": array([1], "fish", bytes(4)),
    "nested tuples": nested(1, 300),
    "nested lists": [[[[[[[[]]]]]]]] and eval("[" * 90 + "]" * 90),
    "an unknown kind": {"$": "pickle", "v": ""},
    "a kind that is a list": {"$": ["tuple"], "v": []},
    "a tuple of nothing": {"$": "tuple"},
    "a set of lists": {"$": "set", "v": [[1]]},
    "a dict with a list for a key": {"$": "dict", "v": [[[1], 2]]},
    "a number of a million digits": {"$": "int", "v": "9" * 1_000_000},
    "bytes that are no base64": {"$": "bytes", "v": "?"},
}
PAYLOADS = {
    **{name: {"attributes": {"a": value}} for name, value in VALUES.items()},
    "attributes that are a list": {"attributes": [1]},
    "annotations that are a number": {"annotations": 5},
    "an annotation of a foreign class": {"annotations": [{"type": "os.system"}]},
    "a box of three corners": {"annotations": [{"type": "Bbox", "points": [1, 2, 3]}]},
    "a box of texts": {"annotations": [{"type": "Bbox", "points": ["a", "b", "c", "d"]}]},
    "a label that is a text": {"annotations": [{"type": "Label", "label": "cat"}]},
    "a caption that is a number": {"annotations": [{"type": "Caption", "caption": 5}]},
    "an id that is a list": {"annotations": [{"type": "Caption", "caption": "a", "id": []}]},
    "a mask of no size": {"annotations": [{"type": "Mask", "image": {"$": "rle", "size": [0, 5], "v": "1"}}]},
    "a mask larger than 32 bits": {
        "annotations": [{"type": "Mask", "image": {"$": "rle", "size": [2**20] * 2, "v": "1"}}]
    },
    "a mask of three sides": {"annotations": [{"type": "Mask", "image": {"$": "rle", "size": [1, 1, 1], "v": "1"}}]},
    "a foreign medium": {"media": {"type": "exec"}},
    "a picture without end": {"media": {"type": "image", "path": "/dev/zero"}},
    "a video without end": {"media": {"type": "video", "path": "/dev/zero", "range": [1, 0, None]}},
    "a picture at a number": {"media": {"type": "image", "path": 5}},
    "a picture of negative size": {"media": {"type": "image", "path": "a", "size": [-1, 5]}},
    "a picture of a foreign type": {"media": {"type": "image", "path": "a", "dtype": "|O"}},
    "a picture outside": {"media": {"type": "image", "file": "media/../../secret"}},
}


@pytest.fixture
def make_store(tmp_path: Path) -> Any:
    """Writes a store of one item with a payload, checksums and digests right."""

    def make(payload: dict[str, Any]) -> Path:
        with create_store(tmp_path / "store", "clip_mmap", Header(), overwrite=True) as writer:
            writer.add(Record(ItemKey("good", "train")))
            writer.add(Record(ItemKey("bad", "train"), payload))
        return tmp_path / "store"

    return make


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_hostile_payload_is_refused_by_the_items_name(payload: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StoreCorruptError, match="item bad@train"):
        ItemDecoder(tmp_path).decode(ItemKey("bad", "train"), payload)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_verify_calls_such_a_store_damaged(
    payload: dict[str, Any], make_store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with status 1."""
    assert main(["verify", str(make_store(payload))]) == 1
    said = capsys.readouterr().err
    assert "item bad@train" in said
    assert said.count("\n") == 1


def test_a_pipe_is_not_waited_for(make_store: Any, tmp_path: Path) -> None:
    """Neither a picture of its own, nor one inside the store."""
    os.mkfifo(tmp_path / "pipe")
    store = make_store({"media": {"type": "image", "path": str(tmp_path / "pipe")}})
    assert main(["verify", str(store)]) == 1
    store = make_store({"media": {"type": "image", "file": "media/pipe"}})
    (store / "media").mkdir()
    os.mkfifo(store / "media/pipe")
    assert main(["verify", str(store)]) == 1


@pytest.mark.parametrize("counts", ["", "5", "9" * 40, "1" * 40, "o" * 12, "\x00", "~", "é", "0" * 100_000])
def test_run_lengths_that_do_not_fit_are_never_decoded(
    counts: str, make_store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """pycocotools would write beyond the mask or return memory that nobody wrote."""
    rle = {
        "$": "dict",
        "v": [["size", [4, 5]], ["counts", {"$": "bytes", "v": base64.b64encode(counts.encode()).decode()}]],
    }
    for annotation in (
        {"type": "Mask", "image": {"$": "rle", "size": [4, 5], "v": counts}},
        {"type": "RleMask", "rle": rle},
    ):
        store = make_store({"annotations": [annotation]})
        item = ItemDecoder(store).decode(ItemKey("bad", "train"), {"annotations": [annotation]})
        with pytest.raises(StoreCorruptError, match="do not make 4 x 5 pixels"):
            item.annotations[0].image  # noqa: B018 - decoded when asked for
        assert main(["verify", str(store)]) == 1
        assert "item bad@train" in capsys.readouterr().err


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=90), st.integers(0, 3))
def test_run_lengths_that_fit_are(rows: list[list[bool]], repeated: int) -> None:
    """Whatever the mask: runs of a pixel, and runs of thousands."""
    mask = np.repeat(np.array(rows), 1 + 700 * repeated, axis=0)
    np.testing.assert_array_equal(decode_mask(encode_mask(mask))(), mask)


@pytest.mark.parametrize("depth", [1, 40])
def test_what_is_stored_can_be_read_back_however_deep(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = (value, {"a": [value]}) if depth < 5 else (value,)
    assert decode_value(encode_value(value)) == value


def test_what_is_too_deep_to_be_read_back_is_not_stored() -> None:
    value: Any = 1
    for _ in range(60):
        value = (value,)
    with pytest.raises(CodecError, match="deep"):
        encode_value(value)


def test_an_item_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    from datumaro.components.dataset_base import DatasetItem

    from datumaro_clip.host.codec.items import ItemEncoder
    from datumaro_clip.store import MediaFolder

    item = DatasetItem("deep", annotations=[dm.Caption("a", attributes={"a": eval("[" * 60 + "]" * 60)})])
    with pytest.raises(StoreWriteError, match="item 'deep'"):
        ItemEncoder(MediaFolder(tmp_path), save_media=False).encode(item)
