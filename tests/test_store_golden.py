"""Golden stores pin each version of the format; a reader written from the format's page alone reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datumaro_clip.store import Header, Record, append_to_store, create_store, open_store
from datumaro_clip.testing.records import SPACE, assert_same, files_of, make_records

GOLDEN = Path(__file__).parent / "golden"
LATEST = 2
RECORDS = make_records(6, seed=1)
# Versions of libraries are part of the header, so that golden stores name made-up ones.
HEADER = Header(
    space=SPACE,
    precision="int8",
    device="GPU.0",
    dtype="float16",
    categories={"label": {"class": "LabelCategories", "items": [["cat", "", {"$": "set", "v": []}]], "groups": []}},
    infos={"licence": "none"},
    versions={"datumaro-clip": "0.0.0"},
)
KINDS = ("clip_hdf5", "clip_mmap")
STORES = pytest.mark.parametrize("store", [GOLDEN / f"version-{v}" / kind for v in (1, 2) for kind in KINDS], ids=str)


def wanted_of(store: Path) -> list[Record]:
    """Return the records of a golden store; version 1 had no objects."""
    found = [RECORDS[0], RECORDS[2], *RECORDS[3:]]
    return found if store.parent.name != "version-1" else [replace(record, objects=()) for record in found]


def write_golden(path: Path, kind: str) -> None:
    """Two segments, one row replaced and one removed; run this module to write the latest version's anew."""
    with create_store(path, kind, HEADER) as writer:
        for record in RECORDS[:4]:
            writer.add(record)
        writer.media.add_bytes(b"not really a picture", "train/dir/0.jpg")
    with append_to_store(path, HEADER) as writer:
        for record in RECORDS[3:]:
            writer.add(record)
        writer.remove(RECORDS[1].key)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read it as the page says: format, version, digest, then the rest."""
    first, _, rest = path.read_bytes().partition(b"\n")
    head = json.loads(first[:-1] + b"}")
    assert (head["format"], head["format_version"]) == (path.stem, 1 if "version-1" in path.parts else LATEST)
    assert hashlib.sha256(rest).hexdigest() == head["sha256"]
    body: dict[str, Any] = json.loads(b"{" + rest)
    return body


def columns_of(root: Path, kind: str, segment: dict[str, Any]) -> dict[str, np.ndarray]:
    """A segment's columns by h5py or NumPy, each block checked."""
    if kind == "clip_hdf5":
        with h5py.File(root / f"{segment['name']}.h5") as file:
            columns = {name: file[name][()] for name in segment["columns"]}
    else:
        folder = root / segment["name"]
        columns = {name: np.load(folder / f"{name}.npy") for name in segment["columns"] if name != "items"}
        columns["items"] = np.fromfile(folder / "items.jsonl", np.uint8)
    for name, spec in segment["columns"].items():
        column, size = columns[name], spec["block_rows"]
        assert (column.dtype.str, list(column.shape)) == (spec["dtype"], spec["shape"])
        blocks = [column[start : start + size] for start in range(0, len(column), size)]
        assert [zlib.crc32(block.tobytes()) for block in blocks] == spec["crc32"]
    return columns


def independent_reader(
    root: Path, kind: str
) -> Iterator[tuple[dict[str, Any], np.ndarray | None, list[Any], list[Any]]]:
    """Every live record with its vector, its captions' and its objects' vectors, in order."""
    for segment in read_manifest(root / f"{kind}.json")["segments"]:
        columns = columns_of(root, kind, segment)
        offsets, text = columns["item_offsets"], columns["items"].tobytes()
        for row in sorted(set(range(segment["items"])) - set(segment["removed"])):
            record = json.loads(text[offsets[row] : offsets[row + 1]])
            key = f"{record['subset']}\0{record['id']}".encode()
            assert columns["item_hash"][row] == zlib.crc32(key)
            vectors = columns["embeddings"][columns["embedding_item"] == row]
            mine = columns.get("caption_item", np.zeros(0)) == row
            names = ("caption_annotation", "caption_scores", "caption_embeddings")
            captions = list(zip(*(columns[name][mine] for name in names), strict=True)) if mine.any() else []
            objects = [object_of(segment, columns, i) for i in np.flatnonzero(columns.get("object_item", ()) == row)]
            yield record, vectors[0] if len(vectors) else None, captions, objects


def object_of(segment: dict[str, Any], columns: dict[str, np.ndarray], i: int) -> tuple[Any, ...]:
    """Read one object's columns as the page describes them, and its vector."""
    confidence, source = columns["object_confidence"][i], columns["object_source"][i]
    return (
        columns["object_annotation"][i],
        tuple(columns["object_bbox"][i]),
        segment["classes"][columns["object_class"][i]],
        None if np.isnan(confidence) else confidence,
        segment["detectors"][columns["object_detector"][i]],
        source.tobytes().hex() if source.any() else "",
        columns["object_embeddings"][i],
    )


@STORES
def test_the_format_page_suffices_to_write_a_reader(store: Path) -> None:
    """A reader with only h5py or NumPy finds what was stored."""
    found = list(independent_reader(store, store.name))
    assert len(found) == len(wanted_of(store))
    for (record, vector, captions, objects), wanted in zip(found, wanted_of(store), strict=True):
        assert (record["id"], record["subset"]) == wanted.key
        assert record.get("payload", {}) == wanted.payload
        assert (vector is None) == (wanted.embedding is None)
        if vector is not None and wanted.embedding is not None:
            np.testing.assert_array_equal(vector, wanted.embedding.astype("<f2"))
        assert [annotation for annotation, _, _ in captions] == [c.annotation_index for c in wanted.captions]
        scores = [None if np.isnan(score) else score for _, score, _ in captions]
        assert scores == [caption.score for caption in wanted.captions]
        facts = [(o.annotation_index, o.bbox, o.class_name, o.confidence, o.detector, o.source) for o in wanted.objects]
        assert [found[:-1] for found in objects] == facts
        for (*_, mine), theirs in zip(objects, wanted.objects, strict=True):
            np.testing.assert_array_equal(mine, theirs.vector.astype("<f2"))


@STORES
def test_the_manifest_says_what_the_page_says(store: Path) -> None:
    body = read_manifest(store / f"{store.name}.json")
    of_version_2 = ["objects"] if "version-1" not in store.parts else []
    assert list(body) == ["header", "items", "embeddings", "captions", *of_version_2, "subsets", "segments"]
    assert (body["items"], body["embeddings"], body["captions"], body.get("objects", 2)) == (5, 4, 5, 2)
    assert body["subsets"] == {"train": 3, "val": 2}
    assert body["header"]["space"] == {"fingerprint": SPACE.fingerprint, "dimension": 8, "model": "contract"}
    page = (Path(__file__).parents[1] / "docs/storage-format.md").read_text(encoding="utf-8")
    documented = [*body, *body["header"], *body["segments"][0], *body["segments"][0]["columns"]]
    assert [name for name in documented if f"`{name}`" not in page] == []


@STORES
def test_this_release_reads_every_version(store: Path) -> None:
    with open_store(store) as reader:
        reader.check()
        assert reader.header == HEADER
        assert_same(reader.records(), wanted_of(store), "float16")


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_of_version_1_is_added_to(kind: str, tmp_path: Path) -> None:
    """Its segments stay, byte for byte; its manifest is then of the latest version."""
    path = shutil.copytree(GOLDEN / "version-1" / kind, tmp_path / "store")
    before = files_of(path)
    with append_to_store(path) as writer:
        writer.add(RECORDS[1])
    after = files_of(path)
    assert {name for name in before if after[name] != before[name]} == {f"{kind}.json"}
    read_manifest(path / f"{kind}.json")
    with open_store(path) as reader:
        assert_same(reader.records(), [*wanted_of(GOLDEN / "version-1" / kind), RECORDS[1]], "float16")


@pytest.mark.parametrize("kind", KINDS)
def test_this_release_writes_the_latest_version(kind: str, tmp_path: Path) -> None:
    """Byte for byte; of HDF5's own structures, which another HDF5 may lay out otherwise, only the contents count."""
    write_golden(tmp_path / "store", kind)
    golden_store = GOLDEN / f"version-{LATEST}" / kind
    mine, golden = files_of(tmp_path / "store"), files_of(golden_store)
    if kind == "clip_mmap":
        assert mine == {".clip-store.lock": b"", **golden}
    else:
        assert mine.keys() - golden.keys() == {".clip-store.lock"}
        mine_body, body = (read_manifest(root / f"{kind}.json") for root in (tmp_path / "store", golden_store))
        for segment in (*mine_body["segments"], *body["segments"]):
            segment.pop("files")
        assert mine_body == body


if __name__ == "__main__":
    for name in KINDS:
        folder = GOLDEN / f"version-{LATEST}" / name
        shutil.rmtree(folder, ignore_errors=True)
        write_golden(folder, name)
        (folder / ".clip-store.lock").unlink()
