"""The default engine: exact search over int8 codes of all vectors, which the cache directory keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.index.codes import Codes, centre_of, encode
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout, blocks_of
from datumaro_clip.index.rows import Found, VectorRows
from datumaro_clip.index.sieve import Piece, best_rows
from datumaro_clip.index.snapshot import TARGETS, Searcher, Snapshot
from datumaro_clip.similarity.scores import Matrix
from datumaro_clip.store import StoreReader
from datumaro_clip.store.columns import Column

# Rows quantised at a time.
_BLOCK_ROWS = 2048
# The centre is the mean of a sample: so many parts of so many rows, evenly spaced in the largest segment.
_CENTRE_PARTS, _CENTRE_ROWS = 16, 256


class ExactEngine:
    """Finds exactly the most similar rows, using the codes in the cache directory."""

    name = "exact"
    least_recall = 1.0

    def push(self, store: StoreReader) -> None:
        """Do nothing: the index is local."""

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Quantise the vectors that have no codes yet."""
        return {name: ExactSearcher(coded_pieces(layout, name), layout.vectors(name)) for name in TARGETS}

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """Return none: all that this engine holds is in the cache, whose checksums the caller compares."""
        return iter(())


@dataclass(frozen=True, eq=False)
class ExactSearcher:
    """Searches the codes of one target."""

    pieces: Sequence[Piece]
    vectors: VectorRows

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """See :class:`~datumaro_clip.index.snapshot.Searcher`."""
        return best_rows(self.pieces, self.vectors, queries, k, mask)


def coded_pieces(layout: Layout, target: str) -> list[Piece]:
    """Return the codes of a target's runs; missing ones are made."""
    pieces, start = [], 0
    for run in layout.runs(target):
        entry = layout.entry(f"{target}-codes", run.segments, partial(_write_codes, run.columns))
        codes = Codes(**entry.arrays)
        pieces.append(Piece(codes, run.live, start))
        start += pieces[-1].count
    return pieces


def _write_codes(columns: Sequence[Column], directory: Path) -> Mapping[str, Any]:
    """Write the codes of some columns, including those of removed items; reading a column checks its blocks."""
    rows, dimension = sum(map(len, columns)), columns[0].spec.shape[1]
    kinds = {"codes": ("|i1", (rows, dimension)), **dict.fromkeys(("scale", "error", "length"), ("<f4", (rows,)))}
    arrays = {
        name: np.lib.format.open_memmap(directory / f"{name}.npy", "w+", np.dtype(dtype), shape)
        for name, (dtype, shape) in kinds.items()
    }
    largest = max(columns, key=len)
    starts = np.unique(np.linspace(0, max(0, len(largest) - _CENTRE_ROWS), _CENTRE_PARTS).astype(int))
    sample = [largest.read(start, min(start + _CENTRE_ROWS, len(largest))) for start in starts]
    centre = centre_of(np.concatenate(sample))
    np.save(directory / "centre.npy", centre)
    for start, block in blocks_of(columns, _BLOCK_ROWS):
        coded = encode(block, centre)
        for name, array in arrays.items():
            array[start : start + len(block)] = getattr(coded, name)
    for array in arrays.values():
        array.flush()
    return {}
