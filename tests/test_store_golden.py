"""Version 1 of the format, pinned: stores of the first release, and a reader made from the format's page alone."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datumaro_clip.store import Header, append_to_store, create_store, open_store
from datumaro_clip.testing.records import SPACE, assert_same, files_of, make_records

GOLDEN = Path(__file__).parent / "golden"
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


def write_golden(path: Path, kind: str) -> None:
    """Two segments, one row replaced and one removed; run this module to write ``tests/golden`` anew."""
    with create_store(path, kind, HEADER) as writer:
        for record in RECORDS[:4]:
            writer.add(record)
        writer.media.add_bytes(b"not really a picture", "train/dir/0.jpg")
    with append_to_store(path, HEADER) as writer:
        for record in RECORDS[3:]:
            writer.add(record)
        writer.remove(RECORDS[1].key)


WANTED = [RECORDS[0], RECORDS[2], *RECORDS[3:]]


def read_manifest(path: Path) -> dict[str, Any]:
    """As the page says: format, version, digest, then the rest."""
    first, _, rest = path.read_bytes().partition(b"\n")
    head = json.loads(first[:-1] + b"}")
    assert (head["format"], head["format_version"]) == (path.stem, 1)
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


def independent_reader(root: Path, kind: str) -> Iterator[tuple[dict[str, Any], np.ndarray | None, list[Any]]]:
    """Every live record with its vector and its captions' vectors, in order."""
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
            yield record, vectors[0] if len(vectors) else None, captions


@pytest.mark.parametrize("kind", KINDS)
def test_the_format_page_suffices_to_write_a_reader(kind: str) -> None:
    """What h5py or NumPy alone find is what was stored."""
    found = list(independent_reader(GOLDEN / kind, kind))
    assert len(found) == len(WANTED)
    for (record, vector, captions), wanted in zip(found, WANTED, strict=True):
        assert (record["id"], record["subset"]) == wanted.key
        assert record.get("payload", {}) == wanted.payload
        assert (vector is None) == (wanted.embedding is None)
        if vector is not None and wanted.embedding is not None:
            np.testing.assert_array_equal(vector, wanted.embedding.astype("<f2"))
        assert [annotation for annotation, _, _ in captions] == [c.annotation_index for c in wanted.captions]
        scores = [None if np.isnan(score) else score for _, score, _ in captions]
        assert scores == [caption.score for caption in wanted.captions]


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_the_page_says(kind: str) -> None:
    body = read_manifest(GOLDEN / kind / f"{kind}.json")
    assert list(body) == ["header", "items", "embeddings", "captions", "subsets", "segments"]
    assert (body["items"], body["embeddings"], body["captions"]) == (5, 4, 5)
    assert body["subsets"] == {"train": 3, "val": 2}
    assert body["header"]["space"] == {"fingerprint": SPACE.fingerprint, "dimension": 8, "model": "contract"}
    page = (Path(__file__).parents[1] / "docs/storage-format.md").read_text(encoding="utf-8")
    documented = [*body, *body["header"], *body["segments"][0], *body["segments"][0]["columns"]]
    assert [name for name in documented if f"`{name}`" not in page] == []


@pytest.mark.parametrize("kind", KINDS)
def test_this_release_reads_version_1(kind: str) -> None:
    with open_store(GOLDEN / kind) as reader:
        reader.check()
        assert reader.header == HEADER
        for mine, wanted in zip(reader.records(), WANTED, strict=True):
            assert_same(mine, wanted, "float16")


@pytest.mark.parametrize("kind", KINDS)
def test_this_release_writes_version_1(kind: str, tmp_path: Path) -> None:
    """Byte for byte; of HDF5's own structures, which another HDF5 may lay out otherwise, only the contents count."""
    write_golden(tmp_path / "store", kind)
    mine, golden = files_of(tmp_path / "store"), files_of(GOLDEN / kind)
    if kind == "clip_mmap":
        assert mine == {".clip-store.lock": b"", **golden}
    else:
        assert mine.keys() - golden.keys() == {".clip-store.lock"}
        mine_body, body = (read_manifest(root / f"{kind}.json") for root in (tmp_path / "store", GOLDEN / kind))
        for segment in (*mine_body["segments"], *body["segments"]):
            segment.pop("files")
        assert mine_body == body


if __name__ == "__main__":
    import shutil

    for name in KINDS:
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        write_golden(GOLDEN / name, name)
        (GOLDEN / name / ".clip-store.lock").unlink()
