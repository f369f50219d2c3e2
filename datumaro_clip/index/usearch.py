"""Approximate search by ``usearch``, for stores that are too large for the exact engine. The only importer of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.errors import MissingDependencyError, OptionError
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.exact import coded_pieces
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout
from datumaro_clip.index.rows import Found, VectorRows, best_of
from datumaro_clip.index.runs import LARGE_ROWS
from datumaro_clip.index.sieve import Piece, best_rows
from datumaro_clip.index.snapshot import TARGETS, Searcher, Snapshot
from datumaro_clip.similarity.scores import IndexArray, Matrix
from datumaro_clip.store import StoreReader
from datumaro_clip.store.columns import Column
from datumaro_clip.system.machine import available_processors

_log = logging.getLogger(__name__)

# Ordinary settings (an expansion of 64) lose 5 to 12% of the true 20 most similar of texts, which lie far away.
# Of a larger graph more has to be looked at: 800 candidates find 99% of those of 100,000 rows, 93% of 1,000,000 rows.
_LEAST_EXPANSION, _EXPANSION, _EXPANSION_PER_ROOT = 200, 800, 2.5
_OVER_FETCH = 4
# Where a mask leaves a smaller share than this, the exact engine is as fast, and misses nothing.
_LEAST_SHARE = 0.2
_ADDED_ROWS = 8192


class UsearchEngine:
    """Graphs of large runs of segments propose rows, the exact engine searches the others.

    Parameters
    ----------
    connectivity : int
        Neighbours of each row in the graph (HNSW's M).
    expansion_add : int
        Candidates looked at when a row is added (HNSW's ef_construction).
    expansion_search : int, optional
        Candidates looked at in a search, at least (HNSW's ef), from 200 on; where omitted, 2.5 times the square root
        of a graph's rows, and at least 800.
    least_rows : int
        Runs of fewer vectors are searched exactly.

    Raises
    ------
    MissingDependencyError
        If usearch is not installed.
    OptionError
        If ``expansion_search`` is below 200.
    """

    name = "usearch"
    least_recall = 0.95

    def __init__(
        self,
        connectivity: int = 16,
        expansion_add: int = 128,
        expansion_search: int | None = None,
        least_rows: int = LARGE_ROWS,
    ) -> None:
        if expansion_search is not None and expansion_search < _LEAST_EXPANSION:
            raise OptionError(
                f"expansion_search is {expansion_search}: below {_LEAST_EXPANSION} too many of a text's true "
                "hits are lost"
            )
        self._connectivity, self._expansion_add, self._least_rows = connectivity, expansion_add, least_rows
        self._expansion_search = expansion_search
        self._index = _library()

    def push(self, store: StoreReader) -> None:
        """There is nothing to push: all is local."""

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Build the graphs and codes that are missing."""
        return {name: self._searcher(layout, name) for name in TARGETS}

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """None: the cached files have been compared with their checksums."""
        return iter(())

    def _searcher(self, layout: Layout, target: str) -> Searcher:
        pieces = coded_pieces(layout, target)
        graphs = []
        for run, piece in zip(layout.runs(target), pieces, strict=True):
            if len(piece.codes) >= self._least_rows:
                kind = f"{target}-usearch-{self._connectivity}-{self._expansion_add}"
                arrays = layout.entry(kind, run, partial(self._write, run.columns)).arrays
                graph = self._index.restore(arrays["graph"].data, view=True)
                expansion = self._expansion_search or max(_EXPANSION, round(_EXPANSION_PER_ROOT * len(graph) ** 0.5))
                graphs.append(_Graph(piece, graph, expansion, arrays["graph"], arrays["unreached"]))
        rows = sum(graph.piece.count for graph in graphs)
        if graphs:
            _log.info("%d %s are searched by usearch: not exact, some may be missed", rows, target)
        small = [piece for piece in pieces if len(piece.codes) < self._least_rows]
        return _UsearchSearcher(pieces, small, graphs, layout.vectors(target))

    def _write(self, columns: Sequence[Column], directory: Path) -> Mapping[str, Any]:
        dimension = columns[0].spec.shape[1]
        graph = self._index(
            ndim=dimension,
            metric="ip",
            dtype="f16",
            connectivity=self._connectivity,
            expansion_add=self._expansion_add,
        )
        first = 0
        for column in columns:
            for start in range(0, len(column), _ADDED_ROWS):
                block = np.ascontiguousarray(column.read(start, min(start + _ADDED_ROWS, len(column))), np.float16)
                graph.add(np.arange(first, first + len(block)), block, threads=available_processors())
                first += len(block)
        unreached = _unreached(graph)
        if len(unreached):
            rows = np.stack(graph.get(unreached))
            graph.remove(unreached)
            graph.add(unreached, rows, threads=1)
            unreached = _unreached(graph)
        np.save(directory / "unreached.npy", unreached)
        np.save(directory / "graph.npy", np.frombuffer(graph.save(), np.uint8))
        return {}


def _unreached(graph: Any) -> IndexArray:
    """Rows that no search finds, however far it goes.

    Threads that add rows at one time leave some behind (https://github.com/unum-cloud/USearch/issues/735), and many
    equal rows link to one another only.
    """
    graph.expansion_search = len(graph)
    reached = graph.search(graph.get(0), len(graph), threads=1).keys
    return np.setdiff1d(np.arange(len(graph)), reached.astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Graph:
    """A run's graph, how many candidates it looks at, the bytes that it reads, and the rows that no search reaches."""

    piece: Piece
    graph: Any
    expansion: int
    content: Any
    unreached: IndexArray

    def propose(self, queries: Matrix, count: int) -> list[IndexArray]:
        """Live rows near each query and those that are never reached, numbered as in the snapshot, in any order."""
        total, live = len(self.piece.codes), self.piece.live
        # Rows of removed items stay in the graph and are passed over.
        fetched = min(total, count if live is None else -(-count * total // max(1, len(live))))
        self.graph.expansion_search = max(self.expansion, fetched)
        answer = self.graph.search(np.asarray(queries, np.float16), fetched, threads=1)
        # Of one query usearch answers with its rows; of several with a table, whose ends are not written where a query
        # reaches fewer rows than asked for: taken one by one, its rows end where they should.
        answers = [answer] if len(queries) == 1 else [answer[at] for at in range(len(queries))]
        found = [np.union1d(one.keys.astype(np.int64), self.unreached) for one in answers]
        if live is None:
            return [self.piece.start + rows for rows in found]
        at = [np.minimum(np.searchsorted(live, rows), len(live) - 1) for rows in found]
        return [self.piece.start + a[live[a] == rows] for a, rows in zip(at, found, strict=True)]


class _UsearchSearcher:
    def __init__(
        self,
        pieces: Sequence[Piece],
        small: Sequence[Piece],
        graphs: Sequence[_Graph],
        vectors: VectorRows,
    ) -> None:
        self._pieces, self._small, self._graphs, self._vectors = pieces, small, graphs, vectors

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """See :class:`~datumaro_clip.index.snapshot.Searcher`."""
        matches = len(self._vectors) if mask is None else int(np.count_nonzero(mask))
        share = matches / len(self._vectors)
        if share < _LEAST_SHARE or not self._graphs:
            return best_rows(self._pieces, self._vectors, queries, k, mask)
        count = int(np.ceil(_OVER_FETCH * k / share))
        parts = [graph.propose(queries, count) for graph in self._graphs]
        if self._small:
            parts.append(list(best_rows(self._small, self._vectors, queries, k, mask).rows))
        proposed = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
        if mask is not None:
            proposed = [rows[mask[rows]] for rows in proposed]
        if any(len(rows) < min(k, matches) for rows in proposed):
            return best_rows(self._pieces, self._vectors, queries, k, mask)
        return best_of(queries, proposed, self._vectors, min(k, matches))


def _library() -> Any:
    try:
        from usearch.index import Index
    except ModuleNotFoundError as exc:
        raise MissingDependencyError("usearch", "ann", "the engine usearch") from exc
    return Index
