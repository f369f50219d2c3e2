"""Damaged, foreign, hostile and interrupted stores give a clear error or the true contents."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datumaro_clip.errors import (
    DatumaroClipError,
    StoreCorruptError,
    StoreError,
    StoreFormatError,
)
from datumaro_clip.search import SearchIndex
from datumaro_clip.store import VECTOR_GROUPS, Record, append_to_store, create_store, kind_names, open_store
from datumaro_clip.store.manifest import manifest_path
from datumaro_clip.testing.records import HEADER, assert_same, files_of, make_records

RECORDS = make_records(8)


@pytest.fixture(params=kind_names())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of two segments, one with a removed row."""
    with create_store(tmp_path / "store", request.param, HEADER) as writer:
        for record in RECORDS[:6]:
            writer.add(record)
    with append_to_store(tmp_path / "store") as writer:
        for record in RECORDS[6:]:
            writer.add(record)
        writer.remove(RECORDS[0].key)
    return tmp_path / "store"


def read_all(path: Path) -> list[Record]:
    """Everything, checked."""
    with open_store(path) as reader:
        reader.check()
        return list(reader.records())


def rewrite(path: Path, kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest as an attacker would, and correct its digest."""
    import hashlib

    file = manifest_path(path, kind)
    body = json.loads(b"{" + file.read_bytes().partition(b"\n")[2])
    change(body)
    text = json.dumps(body, separators=(",", ":")).encode()[1:]
    first = f'{{"format":"{kind}","format_version":1,"sha256":"{hashlib.sha256(text).hexdigest()}",\n'
    file.write_bytes(first.encode() + text)


def kind_of(path: Path) -> str:
    return open_store(path).kind.name


def test_a_flipped_byte_never_changes_what_is_read(store: Path) -> None:
    """At any place in any file, it gives an error of this package or the true contents."""
    rng = np.random.default_rng(0)
    refused = 0
    for name, content in files_of(store).items():
        for position in {0, len(content) - 1, *rng.integers(0, max(len(content), 1), 12).tolist()} - {-1}:
            if not content:
                continue
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            (store / name).write_bytes(damaged)
            try:
                found = read_all(store)
            except DatumaroClipError:
                refused += 1
            else:
                assert_same(found, RECORDS[1:])
        (store / name).write_bytes(content)
    assert refused > 20


def test_a_flipped_byte_of_a_vector_is_found_when_it_is_read(tmp_path: Path) -> None:
    """Not only by ``verify``: iterating and searching find it, and name the block."""
    for kind, file in (("clip_hdf5", "segment-000001.h5"), ("clip_mmap", "segment-000001/embeddings.npy")):
        path = tmp_path / kind
        with create_store(path, kind, HEADER) as writer:
            for record in RECORDS:
                writer.add(record)
        content = bytearray((path / file).read_bytes())
        vector = next(record.embedding for record in RECORDS if record.embedding is not None)
        content[content.index(np.asarray(vector, "<f4").tobytes()) + 2] ^= 1
        (path / file).write_bytes(content)
        for read in (
            lambda reader: reader.stored_rows()[:],
            lambda reader: SearchIndex.from_store(reader).search(np.eye(1, HEADER.space.dimension)),
            lambda reader: list(reader.records()),
            lambda reader: reader.check(),
        ):
            with pytest.raises(StoreCorruptError, match=r"block 0 of .*segment-000001/embeddings contradicts"):
                read(open_store(path))


def test_a_truncated_or_missing_file_is_found_when_opening(store: Path) -> None:
    for name, content in files_of(store).items():
        if name.startswith("segment"):
            for length in {0, len(content) // 2, len(content) - 1}:
                (store / name).write_bytes(content[:length])
                with pytest.raises(StoreCorruptError):
                    open_store(store)
            (store / name).unlink()
            with pytest.raises(StoreCorruptError, match="missing"):
                open_store(store)
            (store / name).write_bytes(content)


def test_a_truncated_manifest_is_an_error(store: Path) -> None:
    file = manifest_path(store, kind_of(store))
    content = file.read_bytes()
    for length in (0, 10, 80, 110, 111, 112, 500, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(StoreError):
            open_store(store)


def test_an_unknown_version_is_named(store: Path) -> None:
    file = manifest_path(store, kind_of(store))
    file.write_bytes(file.read_bytes().replace(b'"format_version":2', b'"format_version":3', 1))
    with pytest.raises(StoreFormatError, match="version 3; this release reads versions 1 and 2"):
        open_store(store)
    with pytest.raises(StoreFormatError):
        append_to_store(store)


def test_a_version_of_more_digits_than_python_reads_is_refused(tmp_path: Path) -> None:
    version = b"9" * 5000
    first = b'{"format":"clip_mmap","format_version":%b,"sha256":"%b",' % (version, b"0" * 64)
    (tmp_path / "clip_mmap.json").write_bytes(first + b"\n}")
    with pytest.raises(StoreFormatError, match="first line is damaged"):
        open_store(tmp_path)


@pytest.mark.parametrize("digit", ["0", "f"])
def test_a_manifest_of_another_digest_is_damaged(store: Path, digit: str) -> None:
    """Whichever of the two digests is the larger."""
    file = manifest_path(store, kind_of(store))
    head, _, body = file.read_bytes().partition(b"\n")
    file.write_bytes(re.sub(rb"[0-9a-f]{64}", digit.encode() * 64, head) + b"\n" + body)
    with pytest.raises(StoreCorruptError, match="contradicts its digest"):
        open_store(store)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"not json", b'{"format":"coco"}', pickle.dumps({"format": 1})])
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip_mmap.json").write_bytes(content)
    with pytest.raises(StoreFormatError, match="not the manifest"):
        open_store(tmp_path)


def test_swapped_segments_are_found(store: Path) -> None:
    """Two sound files with their names swapped are not a sound store."""
    one, two = (next(store.glob(f"segment-00000{n}*")) for n in (1, 2))
    one.rename(store / "aside")
    two.rename(one)
    (store / "aside").rename(two)
    with pytest.raises(StoreCorruptError):
        read_all(store)


def test_swapped_columns_of_equal_size_are_found(tmp_path: Path) -> None:
    """Sizes agree, checksums do not."""
    with create_store(tmp_path / "s", "clip_mmap", HEADER) as writer:
        for record in RECORDS:
            writer.add(record)
    one, two = (tmp_path / "s/segment-000001" / f"{name}.npy" for name in ("caption_item", "caption_annotation"))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(StoreCorruptError, match="checksum"):
        read_all(tmp_path / "s")


def test_hostile_manifests_are_refused(store: Path) -> None:
    """Even with right digests, absurd sizes, names outside the store and unknown columns are refused."""
    kind = kind_of(store)
    content = manifest_path(store, kind).read_bytes()

    def column(name: str, **change: Any) -> Callable[[dict[str, Any]], None]:
        return lambda body: body["segments"][0]["columns"][name].update(change)

    def segment(**change: Any) -> Callable[[dict[str, Any]], None]:
        return lambda body: body["segments"][0].update(change)

    for change in (
        column("embeddings", shape=[10**12, 8]),
        column("embeddings", shape=[10**12, 8], crc32=[0] * 1000),
        column("embeddings", shape=[5, 10**12], block_rows=1, crc32=[0] * 5),
        column("embeddings", shape=[-5, 8]),
        column("embeddings", dtype="|O"),
        column("embeddings", dtype="<f8"),
        column("embeddings", block_rows=10**9),
        column("embeddings", crc32=["x"]),
        column("embeddings", crc32=[]),
        column("embeddings", crc32=[0, 0]),
        column("items", shape=[10**15]),
        column("item_offsets", shape=[3]),
        column("embeddings", shape=[5, 7]),
        segment(name="../segment-000001"),
        segment(name="/etc"),
        segment(files={"../../etc/passwd": 3}),
        segment(items=10**12),
        segment(items="many"),
        segment(removed=[10**9]),
        segment(removed=[3, 1]),
        segment(removed=[-1]),
        segment(columns={}),
        lambda body: body.update(segments=[3]),
        lambda body: body.update(segments=body["segments"][:1] * 2),
        lambda body: body.update(subsets={"train": 10**9}),
        lambda body: body.pop("header"),
        lambda body: body["header"].update(dtype="object"),
        lambda body: body["header"].update(dtype="float16" if body["header"]["dtype"] == "float32" else "float32"),
        lambda body: body["header"]["space"].update(dimension=7),
        lambda body: body["header"].update(space={"fingerprint": "x"}),
    ):
        rewrite(store, kind, change)
        with pytest.raises(StoreCorruptError):
            open_store(store)
        manifest_path(store, kind).write_bytes(content)


def test_offsets_that_point_outside_are_found(tmp_path: Path) -> None:
    """A file with false offsets and a right checksum must not make the reader read outside it."""
    with create_store(tmp_path / "s", "clip_mmap", HEADER) as writer:
        writer.add(RECORDS[0])
    offsets = np.array([0, 2**63], "<u8")
    file = tmp_path / "s/segment-000001/item_offsets.npy"
    file.write_bytes(file.read_bytes()[:128] + offsets.tobytes())
    crc = [zlib.crc32(offsets.tobytes())]
    rewrite(tmp_path / "s", "clip_mmap", lambda b: b["segments"][0]["columns"]["item_offsets"].update(crc32=crc))
    with pytest.raises(StoreCorruptError, match="outside"):
        read_all(tmp_path / "s")


@pytest.mark.parametrize("rows", [[-1, 0, 1], [0, 1, 3], [0, 0, 1], [1, 0, 2]])
def test_vectors_of_items_that_are_not_there_are_found(rows: list[int], tmp_path: Path) -> None:
    """With right checksums: rows before the first item, after the last, repeated, or out of order."""
    sound = [record for record in RECORDS if record.embedding is not None][:3]
    with create_store(tmp_path / "s", "clip_mmap", HEADER) as writer:
        for record in sound:
            writer.add(record)
    file = tmp_path / "s/segment-000001/embedding_item.npy"
    forged = np.array(rows, "<i8").tobytes()
    file.write_bytes(file.read_bytes()[:128] + forged)
    crc = [zlib.crc32(forged)]
    rewrite(tmp_path / "s", "clip_mmap", lambda b: b["segments"][0]["columns"]["embedding_item"].update(crc32=crc))
    with pytest.raises(StoreCorruptError, match=r"embedding_item of .* does not fit its items"):
        read_all(tmp_path / "s")


def test_hdf5_that_refers_elsewhere_is_refused(tmp_path: Path) -> None:
    """External links, external storage, virtual and soft-linked datasets could read any file."""
    with create_store(tmp_path / "s", "clip_hdf5", HEADER) as writer:
        writer.add(RECORDS[0])
    file = tmp_path / "s/segment-000001.h5"
    content = file.read_bytes()
    shutil.copy(file, tmp_path / "other.h5")

    def external_link(h5: h5py.File) -> None:
        h5["embeddings"] = h5py.ExternalLink("../other.h5", "/embeddings")

    def soft_link(h5: h5py.File) -> None:
        h5["embeddings"] = h5py.SoftLink("/caption_embeddings")

    def external_storage(h5: h5py.File) -> None:
        h5.create_dataset("embeddings", (1, 8), "<f4", external=[(str(tmp_path / "other.h5"), 0, 32)])

    def virtual(h5: h5py.File) -> None:
        layout = h5py.VirtualLayout((1, 8), "<f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "embeddings", (1, 8))
        h5.create_virtual_dataset("embeddings", layout)

    def group(h5: h5py.File) -> None:
        h5.create_group("embeddings")

    for replace in (external_link, soft_link, external_storage, virtual, group):
        file.write_bytes(content)
        with h5py.File(file, "r+") as h5:
            del h5["embeddings"]
            replace(h5)
        size = file.stat().st_size
        rewrite(tmp_path / "s", "clip_hdf5", lambda b, size=size: b["segments"][0]["files"].update({file.name: size}))
        with pytest.raises(StoreCorruptError, match="embeddings"):
            open_store(tmp_path / "s")


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_file_that_another_program_has_open_is_not_called_damaged(is_killed: bool, tmp_path: Path) -> None:
    """A notebook that opens a store in mode "a" locks it, even after it was killed."""
    with create_store(tmp_path / "store", "clip_hdf5", HEADER) as writer:
        writer.add(RECORDS[0])
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "store/segment-000001.h5")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "open\n"
        if is_killed:
            notebook.kill()
            notebook.wait()
        with pytest.raises(StoreError, match="is open for writing in another program") as error:
            open_store(tmp_path / "store")
        assert not isinstance(error.value, StoreCorruptError)
        notebook.communicate()
    if not is_killed:
        assert len(read_all(tmp_path / "store")) == 1


@pytest.mark.parametrize("name", ["embeddings", "captions", "objects", "items"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_forged_count_is_found_on_opening(name: str, by: int, store: Path) -> None:
    """A larger count would read unwritten memory, a smaller one would hide rows, with and without removed rows."""

    def forge(body: dict[str, Any]) -> None:
        body[name] += by

    rewrite(store, kind_of(store), forge)
    with pytest.raises(StoreCorruptError):
        open_store(store)


@pytest.mark.parametrize(
    "column", [name for group in VECTOR_GROUPS.values() for name in group] + ["items", "item_hash"]
)
def test_a_column_that_is_missing_is_found_on_opening(column: str, store: Path) -> None:
    def forge(body: dict[str, Any]) -> None:
        del body["segments"][0]["columns"][column]

    rewrite(store, kind_of(store), forge)
    with pytest.raises(StoreCorruptError):
        open_store(store)


def test_verify_counts_the_subsets(store: Path) -> None:
    """If their sum is right, only reading the keys finds the error."""

    def forge(body: dict[str, Any]) -> None:
        subsets = body["subsets"]
        body["subsets"] = {"train": subsets["train"] + 1, "val": subsets["val"] - 1}

    rewrite(store, kind_of(store), forge)
    with open_store(store) as reader, pytest.raises(StoreCorruptError, match="in its subsets"):
        reader.check()


@pytest.mark.parametrize("kind", kind_names())
def test_verify_finds_two_items_of_one_key(kind: str, tmp_path: Path) -> None:
    """A removed row that is restored repeats a key, although all counts fit."""
    one, other = Record(RECORDS[0].key), Record(RECORDS[1].key)
    with create_store(tmp_path / "store", kind, HEADER) as writer:
        writer.add(one)
        writer.add(other)
    with append_to_store(tmp_path / "store") as writer:
        writer.add(one)

    def forge(body: dict[str, Any]) -> None:
        body["segments"][0]["removed"] = []
        body["items"] += 1
        body["subsets"][one.key.subset] += 1

    rewrite(tmp_path / "store", kind, forge)
    with open_store(tmp_path / "store") as reader, pytest.raises(StoreCorruptError, match="two items called"):
        reader.check()


def test_a_class_that_is_not_there_is_corrupt(store: Path) -> None:
    def forge(body: dict[str, Any]) -> None:
        body["segments"][0]["classes"] = []

    rewrite(store, kind_of(store), forge)
    with open_store(store) as reader:
        for read in (reader.check, lambda: list(reader.records()), lambda: list(reader.objects())):
            with pytest.raises(StoreCorruptError, match="class or detector"):
                read()
