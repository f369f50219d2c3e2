"""The default engine: exact search over int8 codes of all vectors, which the cache directory keeps.

Bounds of the scores, computed from the codes, rule out nearly all rows; exact scores decide among the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datumaro_clip.index.codes import CodedQueries, Codes, bounds, centre_of, encode, encode_queries
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout, column_blocks
from datumaro_clip.index.rows import Found, VectorRows, rescored
from datumaro_clip.index.snapshot import TARGETS, Searcher, Snapshot
from datumaro_clip.similarity.scores import FloatArray, IndexArray, Matrix
from datumaro_clip.similarity.threads import in_threads
from datumaro_clip.store import StoreReader
from datumaro_clip.store.columns import Column
from datumaro_clip.system.machine import available_processors

# Rows quantised at a time.
_CODED_ROWS = 2048
# The centre is the mean of a sample: so many parts of so many rows, evenly spaced in the largest segment.
_CENTRE_PARTS, _CENTRE_ROWS = 16, 256
# Queries in one pass over the codes.
_QUERY_ROWS = 256
# Rows in a block, and bounds in a block: twice 1 MiB of float32, which fits in the processor's cache.
_BLOCK_ROWS = 1 << 14
_BLOCK_BOUNDS = 1 << 18
# Fewer rows than this do not repay another thread.
_PART_ROWS = 1 << 18
# If a mask selects a smaller share of a piece, the selected codes are copied; otherwise all rows get bounds.
_GATHERED_SHARE = 0.2
# To find the kth best lower bound, only the best of each group of so many neighbouring rows is looked at.
_GROUP_ROWS = 64
_LOWEST = np.finfo(np.float32).min


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


def _write_codes(columns: Sequence[Column], directory: Path) -> None:
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
    for start, block in column_blocks(columns, _CODED_ROWS):
        coded = encode(block, centre)
        for name, array in arrays.items():
            array[start : start + len(block)] = getattr(coded, name)
    for array in arrays.values():
        array.flush()


@dataclass(frozen=True, eq=False)
class Piece:
    """The codes of one run of segments.

    Attributes
    ----------
    codes : Codes
        Of all rows, including those of removed items.
    live : numpy.ndarray or None
        Ascending indices of the live rows; None for all.
    start : int
        The snapshot's row number of the first live row.
    """

    codes: Codes
    live: IndexArray | None
    start: int

    @property
    def count(self) -> int:
        """The number of live rows."""
        return len(self.codes) if self.live is None else len(self.live)


class _Block(NamedTuple):
    """Some codes, their row numbers in the snapshot, and a mask of the rows that may be found; None for all."""

    codes: Codes
    rows: IndexArray
    allowed: Mask | None


def best_rows(pieces: Sequence[Piece], vectors: VectorRows, queries: Matrix, k: int, mask: Mask | None) -> Found:
    """Return the k most similar rows of each query among the rows of the pieces that a mask (N,) selects.

    Rows, scores and order are those of :func:`~datumaro_clip.similarity.top_k` on the vectors themselves.
    """
    selected = sum(
        piece.count if mask is None else int(np.count_nonzero(mask[piece.start : piece.start + piece.count]))
        for piece in pieces
    )
    k = min(k, selected)
    if not k:
        return Found.none(len(queries))
    found = [_best(pieces, vectors, queries[i : i + _QUERY_ROWS], k, mask) for i in range(0, len(queries), _QUERY_ROWS)]
    return Found(*map(np.concatenate, zip(*found, strict=True)))


def _best(pieces: Sequence[Piece], vectors: VectorRows, queries: Matrix, k: int, mask: Mask | None) -> Found:
    """Search for at most 256 queries; 0 < k ≤ selected rows."""
    coded = encode_queries(queries)
    blocks = list(_blocks(pieces, mask, max(k, min(_BLOCK_ROWS, _BLOCK_BOUNDS // len(queries)))))
    threads = max(1, min(available_processors(), sum(len(block.rows) for block in blocks) // _PART_ROWS))
    parts = in_threads(lambda part: _candidates(coded, blocks[part::threads], k), range(threads))
    at, rows, lower, upper = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(at, kind="stable")
    limits = np.searchsorted(at[order], np.arange(1, len(queries)))
    chosen = [
        _decided(q, rows[of], lower[of], upper[of], vectors, k)
        for q, of in zip(coded.vectors, np.split(order, limits), strict=True)
    ]
    return Found(*map(np.stack, zip(*chosen, strict=True)))


def _blocks(pieces: Sequence[Piece], mask: Mask | None, size: int) -> Iterator[_Block]:
    """Yield the selected rows in blocks; where most rows of a piece are selected, the others too, masked out."""
    for piece in pieces:
        total, kept = len(piece.codes), piece.live
        if mask is not None:
            chosen = np.flatnonzero(mask[piece.start : piece.start + piece.count])
            kept = chosen if piece.live is None else piece.live[chosen]
        numbers = None if piece.live is None else np.cumsum(_marked(piece.live, total)) - 1
        if kept is not None and len(kept) < _GATHERED_SHARE * total:
            for start in range(0, len(kept), size):
                local = kept[start : start + size]
                yield _Block(piece.codes.of(local), piece.start + (local if numbers is None else numbers[local]), None)
            continue
        allowed = None if kept is None else _marked(kept, total)
        for start in range(0, total, size):
            part = slice(start, min(start + size, total))
            rows = np.arange(part.start, part.stop) if numbers is None else numbers[part]
            yield _Block(piece.codes.of(part), piece.start + rows, None if allowed is None else allowed[part])


def _marked(rows: IndexArray, total: int) -> Mask:
    marks = np.zeros(total, np.bool_)
    marks[rows] = True
    return marks


def _candidates(
    queries: CodedQueries, blocks: Sequence[_Block], k: int
) -> tuple[IndexArray, IndexArray, FloatArray, FloatArray]:
    """Return the query numbers, rows, lower and upper bounds of all rows that may be among the k best."""
    best = np.full((len(queries.codes), k), _LOWEST, np.float32)
    found = []
    for block in blocks:
        lower, upper = bounds(queries, block.codes)
        if block.allowed is not None:
            for bound in (lower, upper):
                np.copyto(bound, -np.inf, where=~block.allowed)
        best = np.concatenate([best, _peaks(lower, k)], axis=1)
        # The k largest, the least of them first.
        best = np.partition(best, best.shape[1] - k, axis=1)[:, best.shape[1] - k :]
        at, columns = np.nonzero(upper >= best[:, :1])
        found.append((at, block.rows[columns], lower[at, columns], upper[at, columns]))
    at, rows, lower, upper = (np.concatenate(column) for column in zip(*found, strict=True))
    keep = upper >= best[at, 0]
    return at[keep], rows[keep], lower[keep], upper[keep]


def _peaks(lower: FloatArray, k: int) -> FloatArray:
    """Return the best lower bound of each group of rows: k of them belong to k different rows."""
    group = max(1, min(_GROUP_ROWS, lower.shape[1] // (4 * k)))
    whole = lower.shape[1] // group * group
    peaks: FloatArray = lower[:, :whole].reshape(len(lower), -1, group).max(axis=2)
    return peaks


def _decided(
    query: FloatArray, rows: IndexArray, lower: FloatArray, upper: FloatArray, vectors: VectorRows, k: int
) -> tuple[IndexArray, FloatArray]:
    """Return the k best candidates of a query and their exact scores, by descending score, then row."""
    keep = upper >= np.partition(lower, len(lower) - k)[len(lower) - k]
    rows, upper = rows[keep], upper[keep]
    first = np.argpartition(upper, len(upper) - k)[len(upper) - k :]
    scores = rescored(query, rows[first], vectors)
    # The exact scores of the k candidates with the highest upper bounds rule out most of the others.
    others = upper >= scores.min()
    others[first] = False
    rows = np.concatenate([rows[first], rows[others]])
    scores = np.concatenate([scores, rescored(query, rows[k:], vectors)])
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
