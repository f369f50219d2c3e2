"""Both kinds of store keep the contract."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import MissingDependencyError, OptionError, StoreFormatError, StoreWriteError
from datumaro_clip.store import MediaFolder, create_store, open_store, store_kind
from datumaro_clip.testing.records import HEADER, make_records
from datumaro_clip.testing.stores import StoreContract


class TestHdf5(StoreContract):
    kind = "clip_hdf5"

    @pytest.mark.parametrize("compression", ["gzip", "lzf"])
    def test_compressed_vectors_are_the_same_vectors(self, tmp_path: Path, compression: str) -> None:
        records = make_records(2000)
        plain = self.write(tmp_path / "plain", records)
        with create_store(tmp_path / "small", self.kind, HEADER, compression=compression) as writer:
            for record in records:
                writer.add(record)
        with open_store(plain) as one, open_store(tmp_path / "small") as two:
            two.check()
            np.testing.assert_array_equal(one.matrix(), two.matrix())
            assert two.header.compression == compression
        assert (tmp_path / "small/segment-000001.h5").stat().st_size < (plain / "segment-000001.h5").stat().st_size


class TestMmap(StoreContract):
    kind = "clip_mmap"

    def test_one_segment_is_mapped_not_copied(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "store", make_records(10))
        matrix = open_store(path).matrix()
        assert isinstance(matrix.base, np.memmap)
        assert not matrix.flags.writeable

    def test_it_does_not_compress(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="clip_hdf5"):
            create_store(tmp_path / "store", self.kind, HEADER, compression="gzip")
        assert not (tmp_path / "store").exists() or not any((tmp_path / "store").glob("*.json"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(OptionError, match="clip_hdf5, clip_mmap"):
        store_kind("clip_zarr")


def test_one_kind_does_not_replace_the_other(tmp_path: Path) -> None:
    """With two manifests in one directory, it would be unclear which store it is."""
    TestMmap().write(tmp_path / "store", make_records(1))
    with pytest.raises(StoreWriteError, match="clip_mmap store already"):
        create_store(tmp_path / "store", "clip_hdf5", HEADER, overwrite=True)
    (tmp_path / "store/clip_hdf5.json").write_text("{}")
    with pytest.raises(StoreFormatError, match="move one of them"):
        open_store(tmp_path / "store")


def test_a_store_that_was_adopted_in_part_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error half-way, the write can only be aborted."""

    def full(self: MediaFolder, store: Path, *, link: bool) -> dict[str, str]:
        raise OSError(28, "No space left on device")

    path = TestMmap().write(tmp_path / "one", make_records(3))
    monkeypatch.setattr(MediaFolder, "adopt", full)
    with open_store(path) as store, create_store(tmp_path / "two", "clip_mmap", HEADER) as writer:
        with pytest.raises(StoreWriteError, match="No space left"):
            writer.adopt(store)
        with pytest.raises(StoreWriteError, match="nothing of this write"):
            writer.add(make_records(4)[3])
        writer.abort()
    assert not (tmp_path / "two").exists()


def test_an_equal_export_replaces_files_that_were_damaged(tmp_path: Path) -> None:
    """Files of the same sizes, but not of the same bytes, are not kept."""
    path = TestMmap().write(tmp_path / "store", make_records(7))
    file = next(path.glob("segment-*/embeddings.npy"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x55")
    TestMmap().write(path, make_records(7), overwrite=True)
    with open_store(path) as reader:
        reader.check()


def test_without_h5py_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and the other kind still works."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.delitem(sys.modules, "datumaro_clip.store.hdf5", raising=False)
    store_kind.cache_clear()
    with pytest.raises(MissingDependencyError, match="clip_hdf5 needs h5py"):
        store_kind("clip_hdf5")
    assert store_kind("clip_mmap").name == "clip_mmap"
