"""Approximate search by ``usearch``, for stores that are too large for the exact engine; the only importer of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.errors import MissingDependencyError, OptionError
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.exact import ExactEngine, ExactSearcher, Piece, best_rows, coded_pieces
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import LARGE_ROWS, Layout, column_blocks
from datumaro_clip.index.rows import Found, best_of
from datumaro_clip.index.snapshot import TARGETS, Searcher
from datumaro_clip.similarity.scores import IndexArray, Matrix
from datumaro_clip.store.columns import Column
from datumaro_clip.system.machine import available_processors

_log = logging.getLogger(__name__)

# With usearch's default expansion of 64, searches by text miss 5 to 12% of the true 20 most similar rows, since texts
# lie far from pictures. A larger graph needs more candidates: 800 find 99% among 100,000 rows, 93% among 1,000,000.
_LEAST_EXPANSION, _EXPANSION, _EXPANSION_PER_ROOT = 200, 800, 2.5
_OVER_FETCH = 4
# If a mask selects a smaller share than this, the exact search is as fast.
_LEAST_SHARE = 0.2
_ADDED_ROWS = 8192


class UsearchEngine(ExactEngine):
    """Searches large runs of segments by graphs, and the others exactly.

    Parameters
    ----------
    connectivity : int
        Neighbours of each row in the graph (HNSW's M).
    expansion_add : int
        Candidates looked at when a row is added (HNSW's ef_construction).
    expansion_search : int, optional
        The fewest candidates looked at in a search (HNSW's ef), at least 200; where omitted, 2.5 times the square root
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
        try:
            from usearch.index import Index
        except ModuleNotFoundError as exc:
            raise MissingDependencyError("usearch", "ann", "the engine usearch") from exc
        self._index: Any = Index

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Build the graphs and codes that are missing."""
        return {name: self._searcher(layout, name) for name in TARGETS}

    def _searcher(self, layout: Layout, target: str) -> Searcher:
        pieces = coded_pieces(layout, target)
        graphs = []
        for run, piece in zip(layout.runs(target), pieces, strict=True):
            if len(piece.codes) >= self._least_rows:
                kind = f"{target}-usearch-{self._connectivity}-{self._expansion_add}"
                arrays = layout.entry(kind, run.segments, partial(self._write, run.columns)).arrays
                graph = self._index.restore(arrays["graph"].data, view=True)
                expansion = self._expansion_search or max(_EXPANSION, round(_EXPANSION_PER_ROOT * len(graph) ** 0.5))
                graphs.append(_Graph(piece, graph, expansion, arrays["graph"], arrays["unreached"]))
        rows = sum(graph.piece.count for graph in graphs)
        if graphs:
            _log.info("%d %s are searched by usearch: not exact, some may be missed", rows, target)
        small = [piece for piece in pieces if len(piece.codes) < self._least_rows]
        return _UsearchSearcher(pieces, layout.vectors(target), small, graphs)

    def _write(self, columns: Sequence[Column], directory: Path) -> None:
        dimension = columns[0].spec.shape[1]
        graph = self._index(
            ndim=dimension, metric="ip", dtype="f16", connectivity=self._connectivity, expansion_add=self._expansion_add
        )
        for start, block in column_blocks(columns, _ADDED_ROWS):
            rows = np.arange(start, start + len(block))
            graph.add(rows, np.ascontiguousarray(block, np.float16), threads=available_processors())
        unreached = _unreached(graph)
        if len(unreached):
            vectors = np.stack(graph.get(unreached))
            graph.remove(unreached)
            graph.add(unreached, vectors, threads=1)
            unreached = _unreached(graph)
        np.save(directory / "unreached.npy", unreached)
        np.save(directory / "graph.npy", np.frombuffer(graph.save(), np.uint8))


def _unreached(graph: Any) -> IndexArray:
    """Return the rows that no search finds, however many candidates it looks at.

    Some rows get no links when several threads add rows (https://github.com/unum-cloud/USearch/issues/735), and many
    equal rows link only to one another.
    """
    graph.expansion_search = len(graph)
    reached = graph.search(graph.get(0), len(graph), threads=1).keys
    return np.setdiff1d(np.arange(len(graph)), reached.astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Graph:
    """A run's graph, the candidates that a search looks at, and the rows that no search reaches.

    ``content`` is the memory that the graph reads: it must live as long as the graph.
    """

    piece: Piece
    graph: Any
    expansion: int
    content: Any
    unreached: IndexArray

    def propose(self, queries: Matrix, count: int) -> list[IndexArray]:
        """Return the snapshot's rows near each query, and those that no search reaches, in any order."""
        total, live = len(self.piece.codes), self.piece.live
        # More are fetched where some of them are of removed items, which stay in the graph.
        fetched = min(total, count if live is None else -(-count * total // max(1, len(live))))
        self.graph.expansion_search = max(self.expansion, fetched)
        answer = self.graph.search(np.asarray(queries, np.float16), fetched, threads=1)
        # For several queries usearch returns a table, in which rows shorter than asked for end in old memory. Indexing
        # the answer by query cuts them off.
        answers = [answer] if len(queries) == 1 else [answer[at] for at in range(len(queries))]
        found = [np.union1d(one.keys.astype(np.int64), self.unreached) for one in answers]
        if live is None:
            return [self.piece.start + rows for rows in found]
        at = [np.minimum(np.searchsorted(live, rows), len(live) - 1) for rows in found]
        return [self.piece.start + a[live[a] == rows] for a, rows in zip(at, found, strict=True)]


@dataclass(frozen=True, eq=False)
class _UsearchSearcher(ExactSearcher):
    """Searches one target by graphs; ``small`` are the pieces without one."""

    small: Sequence[Piece]
    graphs: Sequence[_Graph]

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """See :class:`~datumaro_clip.index.snapshot.Searcher`."""
        matches = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        share = matches / len(self.vectors)
        if share < _LEAST_SHARE or not self.graphs:
            return super().search(queries, k, mask, wanted)
        count = int(np.ceil(_OVER_FETCH * k / share))
        parts = [graph.propose(queries, count) for graph in self.graphs]
        if self.small:
            parts.append(list(best_rows(self.small, self.vectors, queries, k, mask).rows))
        proposed = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
        if mask is not None:
            proposed = [rows[mask[rows]] for rows in proposed]
        if any(len(rows) < min(k, matches) for rows in proposed):
            return super().search(queries, k, mask, wanted)
        return best_of(queries, proposed, self.vectors, min(k, matches))
