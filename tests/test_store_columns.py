"""Columns are the same blocks however their rows come, and each block has zlib's checksum."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datumaro_clip.errors import InvalidVectorError, StoreCorruptError, StoreWriteError
from datumaro_clip.store import columns
from datumaro_clip.store.base import Array
from datumaro_clip.store.columns import BLOCK_BYTES, ColumnWriter, checksum
from datumaro_clip.store.segments import require_unit_rows
from datumaro_clip.vectors import ItemKey

WIDTH = BLOCK_BYTES // 2 // 4
ROWS = np.random.default_rng(0).standard_normal((40, WIDTH)).astype("<f2")


class Kept:
    """A sink that keeps what it is given, cut into blocks."""

    def __init__(self) -> None:
        self.blocks: list[Array] = []
        self.most = 0

    def write(self, column: str, rows: Array, block_rows: int) -> None:
        self.most = max(self.most, len(rows))
        self.blocks += [rows[start : start + block_rows].copy() for start in range(0, len(rows), block_rows)]

    def wait(self) -> None:
        pass


def written(parts: list[Array], dtype: str = "<f2") -> tuple[ColumnWriter, Kept]:
    sink = Kept()
    column = ColumnWriter("rows", dtype, (WIDTH,), sink)
    for part in parts:
        column.extend(part)
    column.flush()
    return column, sink


@given(st.binary(max_size=300), st.sampled_from(["|u1", "<u2"]))
def test_a_checksum_is_zlibs(content: bytes, dtype: str) -> None:
    array = np.frombuffer(content[: len(content) // 2 * 2], dtype)
    assert checksum(array) == zlib.crc32(array.tobytes())
    assert checksum(array[::2]) == zlib.crc32(array[::2].tobytes())


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, BLOCK_BYTES - 1, BLOCK_BYTES])
def test_a_checksum_is_zlibs_whatever_the_length(size: int) -> None:
    """A fast CRC treats long runs, short runs and last bytes differently, and depends on their alignment."""
    content = np.random.default_rng(size).integers(0, 256, size + 3, dtype=np.uint8)
    for start in range(4):
        assert checksum(content[start : start + size]) == zlib.crc32(content[start : start + size].tobytes())


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), max_size=4))
def test_blocks_are_the_same_however_rows_come(cuts: list[int]) -> None:
    """Rows that fill a block are not copied to the writer's block, and must not overtake those in it."""
    parts = np.split(ROWS, sorted(cuts))
    column, sink = written(parts)
    np.testing.assert_array_equal(np.concatenate(sink.blocks), ROWS)
    assert [len(block) for block in sink.blocks] == [4] * 10
    assert column.spec.shape == ROWS.shape
    assert column.spec.crc32 == tuple(zlib.crc32(block.tobytes()) for block in sink.blocks)


@pytest.mark.parametrize("rows", [ROWS[::2], np.asfortranarray(ROWS), ROWS.astype(">f4"), ROWS.astype("<f8")])
def test_rows_of_any_layout_and_dtype_are_stored_in_the_columns(rows: Array) -> None:
    _, sink = written([rows[:5], rows[5:]])
    assert all(block.flags.c_contiguous and block.dtype == np.dtype("<f2") for block in sink.blocks)
    np.testing.assert_array_equal(np.concatenate(sink.blocks), rows.astype("<f2"))


def test_however_many_rows_come_few_are_written_at_once() -> None:
    """Rows that must be converted are held in memory twice."""
    _, sink = written([np.broadcast_to(ROWS[:1], (100, WIDTH)).astype("<f4")])
    assert len(sink.blocks) == 25
    assert sink.most <= 16 * 4


def test_a_block_that_is_refused_is_not_given_again() -> None:
    class Full(Kept):
        def write(self, column: str, rows: Array, block_rows: int) -> None:
            if len(rows) == 4:
                raise StoreWriteError
            super().write(column, rows, block_rows)

    sink = Full()
    column = ColumnWriter("rows", "<f2", (WIDTH,), sink)
    with pytest.raises(StoreWriteError):
        column.extend(ROWS[:4])
    column.extend(ROWS[:3])
    column.flush()
    assert [len(block) for block in sink.blocks] == [3]


@pytest.mark.parametrize("by", [-1, 1])
def test_a_block_of_another_checksum_is_refused_whichever_is_greater(by: int) -> None:
    spec = written([ROWS])[0].spec
    damaged = replace(spec, crc32=(spec.crc32[0], spec.crc32[1] + by, *spec.crc32[2:]))
    column = columns.Column("rows", damaged, ROWS)
    assert len(column.read(0, 4)) == 4
    for read in (lambda: column.read(4, 5), column.check, column.all):
        with pytest.raises(StoreCorruptError, match="block 1 of rows contradicts its checksum"):
            read()


@pytest.mark.parametrize("error", [OSError, RuntimeError, ValueError])
def test_a_block_that_cannot_be_read_is_named_whatever_hdf5_raises(error: type[Exception]) -> None:
    class Broken:
        def __getitem__(self, rows: slice) -> Array:
            raise error("inflate() failed")

    column = columns.Column("rows", written([ROWS])[0].spec, Broken())
    with pytest.raises(StoreCorruptError, match=r"block 2 of rows cannot be read: inflate\(\) failed"):
        column.read(8, 9)


def test_a_block_is_checked_when_it_is_first_read_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, reading rows in random order computes the same checksums again and again."""
    spec = written([ROWS])[0].spec
    checked: list[int] = []
    monkeypatch.setattr(columns, "checksum", lambda block: checked.append(len(block)) or zlib.crc32(block.tobytes()))
    column = columns.Column("rows", spec, ROWS)
    for _ in range(2):
        for start in range(0, len(ROWS), 4):
            np.testing.assert_array_equal(column.read(start, start + 4), ROWS[start : start + 4])
    assert checked == [4] * 10
    column.check()
    assert checked == [4] * 20


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 0.9, 1.01, 6e4])
def test_only_finite_unit_rows_pass(dtype: str, value: Any) -> None:
    """One bad row among good ones is found at any place, and its item is named."""
    keys = [ItemKey(str(row), "train") for row in range(1000)]
    require_unit_rows([], np.empty((0, 8), dtype))
    for row in (0, 500, 999):
        rows = np.eye(1, 8).repeat(1000, axis=0).astype(dtype)
        require_unit_rows(keys, rows)
        rows[row, 0] = value
        with pytest.raises(InvalidVectorError, match=f"a vector of {row}@train has length .*unit length"):
            require_unit_rows(keys, rows)


@given(st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_rounded_unit_rows_pass_whatever_the_dimension(dimension: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((3, dimension)) + 1e-3
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for dtype in ("<f2", "<f4"):
        require_unit_rows([ItemKey("a", "train")] * 3, rows.astype(dtype))
