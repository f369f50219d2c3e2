"""Search servers as engines: pushing a store, going on after an interruption, verifying, and searching."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from datumaro_clip.errors import EngineMismatchError, OptionError
from datumaro_clip.index.columns import Mask
from datumaro_clip.index.documents import Document, Place, Progress, State, documents_of, segment_name
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.layout import Layout
from datumaro_clip.index.rows import Found, VectorRows, best_of
from datumaro_clip.index.snapshot import CAPTIONS, GROUPS, PICTURES, TARGETS, Searcher, Snapshot
from datumaro_clip.similarity import top_k
from datumaro_clip.similarity.scores import IndexArray, Matrix, SelectedRows
from datumaro_clip.store import SegmentReader, StoreReader
from datumaro_clip.vectors import ItemKey, VectorSpace

_log = logging.getLogger(__name__)
#: Items sent at a time.
BATCH_ITEMS = 500
# A server is asked for so many times k candidates, since a graph misses some; exact scores decide among them.
_OVER_FETCH = 5
# The fewest candidates: among 100,000 vectors, 100 miss 5 to 8% of a text's true hits, 400 less than 2%.
_LEAST_ASKED = 400
# So few rows are searched exactly in the store, which is faster than any server's answer.
_FEW_ROWS = 2048
_PASSWORD, _PASSWORD_FILE = "DATUMARO_CLIP_ENGINE_PASSWORD", "DATUMARO_CLIP_ENGINE_PASSWORD_FILE"


class Remote(Protocol):
    """One index in a server.

    Every method raises :class:`EngineError` if the server cannot be reached, refuses, or takes too long.

    Attributes
    ----------
    name : str
        The server's address and the index's name; without a password.
    """

    name: str

    def state(self) -> State | None:
        """Return the index's state; None if there is no index."""

    def create(self, space: VectorSpace) -> None:
        """Make an empty index."""

    def remove(self) -> None:
        """Remove the index, if there is one."""

    def upsert(self, documents: Sequence[Document], state: State) -> None:
        """Add or replace items, then save the state."""

    def delete(self, keys: Sequence[ItemKey], version: int, state: State) -> None:
        """Remove items, some of which may be missing, then save the state."""

    def finish(self, state: State) -> None:
        """Remove the items of segments that a state does not have, make the others searchable, then save the state."""

    def propose(self, target: str, queries: Matrix, count: int, wanted: Filter | None) -> list[list[Place]]:
        """Return about ``count`` hits for each query, in any order.

        They may miss conditions of the filter that the server cannot express: the caller checks each row.
        """

    def listed(self) -> Iterator[tuple[ItemKey, str, int, int]]:
        """Yield every item's key, segment, row and checksum, in any order."""


class WordRemote(Remote, Protocol):
    """A remote index that can search words."""

    def propose_words(self, text: str, count: int, wanted: Filter | None) -> list[Place]:
        """Return about ``count`` items whose captions have the words of a text, the best first."""


class RemoteEngine:
    """Pushes a store to a remote index, which then finds candidate rows. Captions are searched in the store.

    Parameters
    ----------
    remote : Remote
    """

    least_recall = 0.95

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.name = remote.name

    def create(self, store: StoreReader, *, overwrite: bool = False) -> bool:
        """Make an empty index for a store, unless there is one for its space; return whether it was made.

        Raises
        ------
        EngineMismatchError
            If there is an index of another space, and it is not to be overwritten.
        OptionError
            If the store holds no vectors.
        """
        space = _require_space(store)
        state = self.remote.state()
        if state is not None and not overwrite:
            self._require_same(state.space, space)
            return False
        self.remote.remove()
        self.remote.create(space)
        return True

    def push(self, store: StoreReader) -> None:
        """Send the items that the index lacks, and remove those that the store no longer has.

        A push that was interrupted goes on where it ended; a repeated one changes nothing.

        Raises
        ------
        EngineMismatchError
            If the index holds vectors of another space, or of another store.
        """
        self.create(store)
        state = self.remote.state()
        assert state is not None
        if state.digest == store.digest:
            return
        wanted = {segment_name(segment): segment for segment in store.segments}
        if state.segments and not wanted.keys() & state.segments.keys() and len(store):
            raise EngineMismatchError(
                f"{self.name} holds another store than {store.path}: name another index, or empty it with "
                "datum-clip index create --overwrite"
            )
        segments = dict(state.segments)
        for name, segment in wanted.items():
            self._push_segment(store, name, segment, state.space, segments)
        known = {name: segments[name] for name in wanted if name in segments}
        self.remote.finish(State(state.space, store.digest, known))

    def searchers(self, layout: Layout) -> dict[str, Searcher]:
        """Return searchers that ask the server; nothing is built."""
        searchers: dict[str, Searcher] = {}
        for target in TARGETS:
            remote = None if target == CAPTIONS else self.remote
            has_words = target == PICTURES and hasattr(self.remote, "propose_words")
            kind = _WordSearcher if has_words else _RemoteSearcher
            searchers[target] = kind(remote, target, layout.vectors(target), _rows_by_place(layout.store, target))
        return searchers

    def differences(self, snapshot: Snapshot) -> Iterator[str]:
        """Compare keys, counts and checksums with the store's."""
        store = snapshot.store
        state = self.remote.state()
        if state is None:
            yield f"{self.name} holds no index; run datum-clip index push"
            return
        self._require_same(state.space, _require_space(store))
        if state.digest != store.digest:
            held_state = f"state {state.digest[:12]}" if state.digest else "what a push left that did not end"
            yield f"{self.name} holds {held_state}, not state {store.digest[:12]}; run datum-clip index push"
        held: dict[ItemKey, list[Any]] = {}
        for key, *version in self.remote.listed():
            if key in held:
                yield f"{self.name} holds item {key} twice"
            held[key] = version
        if len(held) != len(store):
            yield f"{self.name} holds {len(held)} items, the store {len(store)}"
        for segment in store.segments:
            for document in documents_of(store, segment, 0):
                found = held.pop(document.key, None)
                if found is None:
                    yield f"{self.name} lacks item {document.key}"
                elif found != [document.segment, document.row, document.checksum]:
                    yield f"{self.name} holds another version of item {document.key}"
        for key in held:
            yield f"{self.name} holds item {key}, which the store does not"

    def _push_segment(
        self, store: StoreReader, name: str, segment: SegmentReader, space: VectorSpace, segments: dict[str, Progress]
    ) -> None:
        """Remove a segment's removed rows from the index, then send the live rows that it lacks."""
        done = segments.get(name, Progress(0, 0))
        removed = len(segment.entry.removed)
        if removed < done.removed:
            # The index holds a later state, in which some rows of this one had been removed.
            done = Progress(0, 0)
        if done.rows and removed != done.removed:
            # Replaced items are sent with their new segment; only those that the store no longer has are removed.
            keys = [segment.key(row) for row in segment.entry.removed if row < done.rows]
            gone = [key for key, row in zip(keys, store.find_all(keys), strict=True) if row is None]
            segments[name] = Progress(done.rows, removed)
            for start in range(0, len(gone), BATCH_ITEMS):
                version = max(segment.entry.number for segment in store.segments)
                self.remote.delete(gone[start : start + BATCH_ITEMS], version, State(space, "", dict(segments)))
        documents = documents_of(store, segment, done.rows)
        while batch := list(islice(documents, BATCH_ITEMS)):
            segments[name] = Progress(batch[-1].row + 1, removed)
            self.remote.upsert(batch, State(space, "", dict(segments)))
            _log.info("pushed %d of %d rows of %s", batch[-1].row + 1, len(segment), segment.entry.name)
        segments[name] = Progress(len(segment), removed)

    def _require_same(self, held: VectorSpace, wanted: VectorSpace) -> None:
        if held != wanted:
            raise EngineMismatchError(
                f"{self.name} holds vectors of {held}, the store has vectors of {wanted}: name another index, or empty "
                "it with datum-clip index create --overwrite"
            )


def _rows_by_place(store: StoreReader, target: str) -> dict[str, IndexArray]:
    """Return the snapshot's row of each place: an array for each segment, -1 for what is not live."""
    places: dict[str, IndexArray] = {}
    start = 0
    for segment in store.segments:
        items = segment.item_rows(GROUPS[target])
        alive = segment.is_live[items]
        rows = np.where(alive, start + np.cumsum(alive) - 1, -1)
        start += int(alive.sum())
        if target == PICTURES:
            of_items = np.full(len(segment), -1, np.int64)
            of_items[items] = rows
            rows = of_items
        places[segment_name(segment)] = rows
    return places


@dataclass(frozen=True, eq=False)
class _RemoteSearcher:
    """Searches one target; without ``remote`` in the store alone. ``places`` is of :func:`_rows_by_place`."""

    remote: Remote | None
    target: str
    vectors: VectorRows
    places: Mapping[str, IndexArray]

    def search(self, queries: Matrix, k: int, mask: Mask | None, wanted: Filter | None) -> Found:
        """See :class:`~datumaro_clip.index.snapshot.Searcher`."""
        matches = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        k = min(k, matches)
        if self.remote is not None and matches > _FEW_ROWS:
            # If the server does not know why rows are masked, it must find more of them.
            share = 1.0 if mask is None or wanted is not None else matches / len(self.vectors)
            count = max(_LEAST_ASKED, int(np.ceil(_OVER_FETCH * k / share)))
            hits = self.remote.propose(self.target, queries, count, wanted)
            proposed = [np.unique(self.rows_of(found)) for found in hits]
            if mask is not None:
                proposed = [rows[mask[rows]] for rows in proposed]
            if all(len(rows) >= k for rows in proposed):
                return best_of(queries, proposed, self.vectors, k)
        if mask is None:
            return Found(*top_k(queries, self.vectors, k))
        selected = np.flatnonzero(mask)
        rows, scores = top_k(queries, SelectedRows(self.vectors, selected), k)
        return Found(selected[rows], scores)

    def rows_of(self, hits: Sequence[Place]) -> IndexArray:
        """Return the rows of hits, in their order, without those that this snapshot does not hold."""
        known = [self.places[name][number] for name, number in hits if number < len(self.places.get(name, ()))]
        rows = np.array(known, np.int64)
        return rows[rows >= 0]


class _WordSearcher(_RemoteSearcher):
    def search_words(self, text: str, count: int, wanted: Filter | None) -> IndexArray:
        """See :class:`~datumaro_clip.index.snapshot.WordSearcher`."""
        return self.rows_of(cast(WordRemote, self.remote).propose_words(text, count, wanted))


def password() -> str | None:
    """Return the server's password, from ``DATUMARO_CLIP_ENGINE_PASSWORD`` or the file that ``…_FILE`` names.

    Raises
    ------
    OptionError
        If the file cannot be read.
    """
    if file := os.environ.get(_PASSWORD_FILE):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise OptionError(f"{_PASSWORD_FILE} names {file}, which cannot be read: {exc.strerror}") from exc
    return os.environ.get(_PASSWORD)


def _require_space(store: StoreReader) -> VectorSpace:
    if store.header.space is None:
        raise OptionError(f"{store.path} holds no vectors; embed the dataset first")
    return store.header.space
