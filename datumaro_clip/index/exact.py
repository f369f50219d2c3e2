"""The default engine: int8 codes of every run of segments, and exact scores of what their bounds let through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.index.codes import Codes, centre_of, encode
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout
from datumaro_clip.index.rows import Found, VectorRows
from datumaro_clip.index.sieve import Piece, best_rows
from datumaro_clip.index.snapshot import TARGETS, Searcher, Snapshot
from datumaro_clip.similarity.scores import Matrix
from datumaro_clip.store import StoreReader
from datumaro_clip.store.columns import Column

# Rows that are coded at a time.
_BLOCK_ROWS = 2048
# Rows whose mean is the centre: so many parts of so many rows, from all over the largest segment.
_CENTRE_PARTS, _CENTRE_ROWS = 16, 256


class ExactEngine:
    """Searches what the cache directory holds; never misses."""

    name = "exact"
    least_recall = 1.0

    def push(self, store: StoreReader) -> None:
        """There is nothing to push: all is local."""

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Code what was not coded yet."""
        return {name: ExactSearcher(coded_pieces(layout, name), layout.vectors(name)) for name in TARGETS}

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """None: the cached arrays have been compared with their checksums, and counts with the store's."""
        return iter(())


class ExactSearcher:
    """Searches coded rows."""

    def __init__(self, pieces: Sequence[Piece], vectors: VectorRows) -> None:
        self._pieces, self._vectors = pieces, vectors

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """See :class:`~datumaro_clip.index.snapshot.Searcher`."""
        return best_rows(self._pieces, self._vectors, queries, k, mask)


def coded_pieces(layout: Layout, target: str) -> list[Piece]:
    """The codes of a target's runs; those that are missing are made."""
    pieces, start = [], 0
    for run in layout.runs(target):
        codes = Codes(**layout.entry(f"{target}-codes", run, partial(_write_codes, run.columns)).arrays)
        pieces.append(Piece(codes, run.live, start))
        start += pieces[-1].count
    return pieces


def _write_codes(columns: Sequence[Column], directory: Path) -> Mapping[str, Any]:
    """Write the codes of some segments' vectors, those of removed items included; what is read is checked."""
    rows, dimension = sum(map(len, columns)), columns[0].spec.shape[1]
    kinds = {"codes": ("|i1", (rows, dimension)), **dict.fromkeys(("scale", "error", "length"), ("<f4", (rows,)))}
    arrays = {
        name: np.lib.format.open_memmap(directory / f"{name}.npy", "w+", np.dtype(dtype), shape)
        for name, (dtype, shape) in kinds.items()
    }
    centre = _centre(max(columns, key=len))
    np.save(directory / "centre.npy", centre)
    done = 0
    for column in columns:
        for start in range(0, len(column), _BLOCK_ROWS):
            coded = encode(column.read(start, min(start + _BLOCK_ROWS, len(column))), centre)
            part = slice(done, done + len(coded.codes))
            for name, array in arrays.items():
                array[part] = getattr(coded, name)
            done = part.stop
    for array in arrays.values():
        array.flush()
    return {}


def _centre(column: Column) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mean of some rows from all over a column."""
    starts = np.unique(np.linspace(0, max(0, len(column) - _CENTRE_ROWS), _CENTRE_PARTS).astype(int))
    return centre_of(np.concatenate([column.read(start, min(start + _CENTRE_ROWS, len(column))) for start in starts]))
