"""Closing a store closes its files; arrays read from it stay valid."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import StoreError
from datumaro_clip.store import StoreReader, StoreWriter, append_to_store, create_store, kind_names, open_store
from datumaro_clip.testing.records import HEADER, assert_same, make_records, vectors_of

RECORDS = make_records(6)


@pytest.fixture(params=kind_names())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with create_store(tmp_path / "store", request.param, HEADER) as writer:
        for record in RECORDS:
            writer.add(record)
    return tmp_path / "store"


def held(path: Path) -> int:
    """List this process's maps and open files below a directory, except the writer's lock."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    links = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    return sum(f"{path}/segment" in name for name in [*maps, *links])


def read_in_every_way(reader: StoreReader) -> np.ndarray:
    assert_same([next(reader.records())], RECORDS[:1])
    assert len(reader.stored_rows("captions")[:]) == reader.caption_count == 6
    assert len(reader.vector_rows()) == len(reader.stored_rows()[:]) == reader.embedding_count
    reader.find(RECORDS[0].key)
    return reader.matrix()


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="not on this machine: needs /proc")


@needs_proc
def test_a_closed_store_holds_no_file(store: Path) -> None:
    reader = open_store(store)
    read_in_every_way(reader)
    assert held(store)
    reader.close()
    assert not held(store)


def test_what_was_read_outlives_the_store(store: Path) -> None:
    with open_store(store) as reader:
        matrix = read_in_every_way(reader)
    np.testing.assert_array_equal(matrix, vectors_of(RECORDS))


def test_a_closed_store_says_that_it_is_closed(store: Path) -> None:
    """It must neither return no rows nor advise to restore a sound store."""
    with open_store(store) as reader:
        read_in_every_way(reader)
    for read in (reader.matrix, lambda: reader.record(0), reader.stored_rows, reader.check):
        with pytest.raises(StoreError, match="was closed; open the store again"):
            read()


@needs_proc
@pytest.mark.parametrize("end", [StoreWriter.commit, StoreWriter.abort])
def test_nothing_is_cleared_that_is_still_open(store: Path, end: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems do not remove open files, even if the writer itself has them open."""
    writer = append_to_store(store)
    writer.add(RECORDS[0])
    seen = []
    monkeypatch.setattr("datumaro_clip.store.writer.clear_leftovers", lambda path, kind: seen.append(held(path)))
    end(writer)
    assert seen == [0]
