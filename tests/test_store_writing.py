"""Bad rows are refused, and threads write rows in order."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import InvalidVectorError, StoreWriteError
from datumaro_clip.store import CaptionVector, Header, Record, StoreWriter, create_store, kind_names, open_store
from datumaro_clip.store import hdf5 as module
from datumaro_clip.store.columns import BLOCK_BYTES
from datumaro_clip.testing.records import files_of
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace

SPACE = VectorSpace("name:test", 64)
HEADER = Header(space=SPACE, dtype="float16").computed_by(Provenance(SPACE, "f32", "CPU"))
ROWS = np.eye(64).repeat(400, axis=0)


def keys(count: int, subset: str = "train") -> list[ItemKey]:
    return [ItemKey(f"{subset} {row}", subset) for row in range(count)]


def add_and_commit(writer: StoreWriter, subset: str, rows: np.ndarray) -> None:
    writer.add_rows(keys(len(rows), subset), rows)
    writer.commit()


@pytest.mark.parametrize("kind", kind_names())
def test_a_row_that_is_wider_than_a_block_has_a_block_of_its_own(tmp_path: Path, kind: str) -> None:
    width = BLOCK_BYTES // 2 + 1
    space = VectorSpace("name:wide", width)
    header = Header(space=space, dtype="float16").computed_by(Provenance(space, "f32", "CPU"))
    rows = np.eye(3, width, dtype=np.float16)
    with create_store(tmp_path / "s", kind, header) as writer:
        writer.add_rows(keys(3), rows)
    with open_store(tmp_path / "s") as reader:
        reader.check()
        np.testing.assert_array_equal(reader.matrix(), rows)


@pytest.mark.parametrize("kind", kind_names())
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_callers_rows_are_read_before_it_goes_on(tmp_path: Path, kind: str, dtype: str) -> None:
    """Rows that are not copied must be written before the caller fills its array again."""
    with create_store(tmp_path / "s", kind, HEADER) as writer:
        rows = ROWS.astype(dtype)
        for subset in ("train", "val"):
            writer.add_rows(keys(len(rows), subset), rows)
            rows[:] = np.eye(1, 64, 7)
    with open_store(tmp_path / "s") as reader:
        reader.check()
        np.testing.assert_array_equal(reader.matrix(), np.concatenate([ROWS, rows]))
        assert reader.subsets == {"train": len(ROWS), "val": len(ROWS)}


@pytest.mark.parametrize("kind", kind_names())
@pytest.mark.parametrize("bad", [0, 20_000, 25_599])
def test_a_write_that_failed_is_never_committed(tmp_path: Path, kind: str, bad: int) -> None:
    """Not even if the caller ignores the error."""
    with create_store(tmp_path / "s", kind, HEADER) as writer:
        writer.add_rows(keys(3), ROWS[:3])
    before, rows = files_of(tmp_path / "s"), ROWS.copy()
    rows[bad] = np.nan
    writer = create_store(tmp_path / "s", kind, HEADER, overwrite=True)
    with pytest.raises(InvalidVectorError, match=f"a vector of train {bad}@train has length nan"):
        add_and_commit(writer, "train", rows)
    for refused in (lambda: add_and_commit(writer, "more", ROWS[:5]), lambda: writer.remove(keys(1)[0]), writer.commit):
        with pytest.raises(StoreWriteError, match=r"an item could not be written.*begin another"):
            refused()
    writer.abort()
    assert files_of(tmp_path / "s") == before


@pytest.mark.parametrize("kind", kind_names())
@pytest.mark.parametrize("is_caption", [False, True])
def test_a_bad_vector_is_refused_at_once_and_spoils_nothing(tmp_path: Path, kind: str, is_caption: bool) -> None:
    """It is refused when it is added, not a thousand items later; the write can go on without it."""
    good, *_ = ROWS
    vectors = (good, CaptionVector(0, 2 * good)) if is_caption else (2 * good, CaptionVector(0, good))
    with create_store(tmp_path / "s", kind, HEADER) as writer:
        writer.add(Record(ItemKey("good", "train"), {}, good))
        with pytest.raises(InvalidVectorError, match=r"a vector of dir/bad@train has length 2;.*unit_rows"):
            writer.add(Record(ItemKey("dir/bad", "train"), {}, vectors[0], vectors[1:]))
    with open_store(tmp_path / "s") as reader:
        reader.check()
        assert list(reader.keys()) == [ItemKey("good", "train")]


def test_hdf5_calls_back_in_its_own_thread_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C raises in the main thread; inside a call of HDF5 it would crash the process."""
    threads = set()

    class Watched(module._GuardedFile):
        def seek(self, position: int, whence: int = 0) -> int:
            threads.add(threading.current_thread().name)
            return super().seek(position, whence)

    monkeypatch.setattr("datumaro_clip.store.hdf5._GuardedFile", Watched)
    with create_store(tmp_path / "s", "clip_hdf5", HEADER) as writer:
        writer.add_rows(keys(len(ROWS)), ROWS)
    writer = create_store(tmp_path / "s", "clip_hdf5", HEADER, overwrite=True)
    writer.add_rows(keys(len(ROWS)), ROWS)
    writer.abort()
    assert {name.rpartition("_")[0] for name in threads} == {"store-hdf5"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]
