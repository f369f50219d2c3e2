"""Syncing in the background: errors are reported, and no thread is left."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import StoreWriteError
from datumaro_clip.store import Header, create_store, open_store
from datumaro_clip.store import behind as module
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace

SPACE = VectorSpace("name:test", 8)


@pytest.fixture(params=["clip_hdf5", "clip_mmap"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store of one item; from now on, every block is synced."""
    path = tmp_path / "store"
    write(path, request.param, 1)
    monkeypatch.setattr(module, "_BYTES", 1)
    yield path
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]


def write(path: Path, kind: str, items: int) -> None:
    header = Header(space=SPACE).computed_by(Provenance(SPACE, "f32", "CPU"))
    with create_store(path, kind, header, overwrite=True) as writer:
        writer.add_rows([ItemKey(str(row), "train") for row in range(items)], np.eye(1, 8).repeat(items, axis=0))


def kind_of(path: Path) -> str:
    with open_store(path) as reader:
        return reader.kind.name


def test_what_was_synced_on_the_way_is_the_same_store(store: Path) -> None:
    write(store, kind_of(store), 100_000)
    with open_store(store) as reader:
        reader.check()
        assert len(reader) == 100_000


def test_a_sync_that_fails_on_the_way_fails_the_write(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system reports a lost page only once; ignoring that report leaves a damaged store."""
    kind, sync = kind_of(store), os.fsync

    def fail_off_the_main_threads(descriptor: int) -> None:
        if threading.current_thread().name.startswith("store-sync"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(module.os, "fsync", fail_off_the_main_threads)
    with pytest.raises(StoreWriteError, match="unchanged"):
        write(store, kind, 100_000)
    with open_store(store) as reader:
        assert len(reader) == 1
