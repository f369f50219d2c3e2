"""One store on the page: its columns, its map, its proposals and its decisions."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from datumaro_clip.curate.decisions import Decision, read_decisions
from datumaro_clip.errors import DecisionError, OptionError
from datumaro_clip.explorer.columns import Packed, columns_of, packed, tagged
from datumaro_clip.explorer.columns import object_columns as columns_of_objects
from datumaro_clip.explorer.journal import DECISIONS, Choice, Journal
from datumaro_clip.explorer.likeness import coverage, overlap
from datumaro_clip.explorer.map import places_of
from datumaro_clip.explorer.regions import Region, Regions, caption_words, name_regions
from datumaro_clip.explorer.runs import Runs
from datumaro_clip.index import OBJECTS, PICTURES
from datumaro_clip.index.columns import Words, object_columns
from datumaro_clip.service.answers import dumps
from datumaro_clip.service.collection import ServedStore
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.similarity.layout import Points
from datumaro_clip.store.manifest import find_kind
from datumaro_clip.vectors import FloatArray, ItemKey

log = logging.getLogger(__name__)

# The latest versions of a store, which pages may still show after it has changed.
_KEPT_VERSIONS = 4
_BLOCK = 1 << 14
# Words of captions name regions, too, in stores with fewer classes and at most so many items.
_FEW_CLASSES, _READ_FOR_NAMES = 12, 200_000
# A mean of unit vectors that is shorter than this has no direction but by rounding.
_LEAST_LENGTH = 1e-6
# What a choice keeps of the proposal that it follows.
_KEPT_OF_PROPOSALS = ("action", "reason", "score", "threshold", "detail", "text", "label")

Json = dict[str, Any]


def outdated() -> RequestError:
    """Return a 409 for a page that shows an old version of the store."""
    return RequestError(409, "the store has changed since this page was loaded: reload it", kind="outdated")


class ObjectMap(NamedTuple):
    """The map of a store's M objects, as the page takes it."""

    size: int
    columns: Packed
    labels: list[Region]


@dataclass(frozen=True, eq=False)
class StoreView:
    """One version of a store as the page shows it; its rows stay the same as long as it is kept.

    Attributes
    ----------
    snapshot : Snapshot
        N items.
    points : numpy.ndarray or None
        Shape (M, 2), float32: the place on the map of each item that has a vector; None where there is no map.
    """

    snapshot: Snapshot
    points: Points | None

    @cached_property
    def columns(self) -> Packed:
        """The columns that the page loads at its start."""
        return packed(list(columns_of(self.snapshot, self.points, self.regions)))

    @cached_property
    def ids(self) -> bytes:
        """The items' ids, as JSON."""
        return dumps([key.id for key in self.snapshot.facts.keys])

    @cached_property
    def rows(self) -> dict[ItemKey, int]:
        """The row of each item, kept because every click needs those of all proposals and choices."""
        return {key: row for row, key in enumerate(self.snapshot.facts.keys)}

    @cached_property
    def regions(self) -> Regions:
        """The regions of the map and their names."""
        there = self.snapshot.index.targets[PICTURES].items
        labels = self.snapshot.index.columns.labels
        if self.points is None:
            return name_regions(np.zeros((0, 2), np.float32), labels)
        place = np.full(len(self.snapshot), -1)
        place[there] = np.arange(len(there))

        def of_points(words: Words) -> Words:
            is_there = place[words.items] >= 0
            return Words(place[words.items[is_there]], words.codes[is_there], words.words)

        texts = self.snapshot.facts.texts
        has_few = len(labels.words) < _FEW_CLASSES and len(texts) <= _READ_FOR_NAMES
        return name_regions(self.points, of_points(labels), of_points(caption_words(texts)) if has_few else None)

    @cached_property
    def objects(self) -> ObjectMap:
        """The map of objects.

        Raises
        ------
        OptionError
            If there is none.
        """
        index = self.snapshot.index
        points = places_of(index, OBJECTS)
        if points is None:
            raise OptionError(
                f"the objects have no map yet: datum-clip map {index.store.path} --target objects makes it"
            )
        classes = object_columns(index.store)[0]
        named = Words(np.arange(len(points)), classes.codes, classes.words)
        columns = packed(list(columns_of_objects(self.snapshot, points)))
        return ObjectMap(len(points), columns, name_regions(points, named).labels)

    @cached_property
    def overlap(self) -> Json:
        """What the subsets have in common."""
        target, subsets = self.snapshot.index.targets[PICTURES], self.snapshot.index.columns.subsets
        subset_of = np.zeros(len(self.snapshot), np.int64)
        subset_of[subsets.items] = subsets.codes
        found = overlap(target.vectors, subset_of[target.items])
        return {**found, "subsets": [subsets.words[code] for code in found["subsets"]]}

    def coverage(self, rows: Sequence[int]) -> Json:
        """Return how well some items represent all, beside as many drawn at random.

        Raises
        ------
        OptionError
            If none of them has a vector.
        """
        target = self.snapshot.index.targets[PICTURES]
        chosen = np.flatnonzero(np.isin(target.items, rows))
        if not len(chosen):
            raise OptionError("none of these items has a vector: pick others")
        return {"count": len(chosen), "of": len(target), **coverage(target.vectors, chosen)}

    def scores(self, query: FloatArray) -> bytes:
        """Return the cosine similarity of each picture with a query (D,), N float32; NaN for one without a vector."""
        target = self.snapshot.index.targets[PICTURES]
        found = np.full(len(self.snapshot), np.nan, np.float32)
        for start in range(0, len(target), _BLOCK):
            block = np.asarray(target.vectors[start : start + _BLOCK], np.float32)
            found[target.items[start : start + len(block)]] = block @ query
        return found.tobytes()

    def mean_vector(self, rows: Sequence[int]) -> FloatArray:
        """Return the mean direction (D,) of some items' vectors.

        Raises
        ------
        OptionError
            If none of them has a vector, or they point in all directions.
        """
        target = self.snapshot.index.targets[PICTURES]
        held = np.flatnonzero(np.isin(target.items, rows))
        mean = np.asarray(target.vectors[held], np.float32).mean(axis=0) if len(held) else np.zeros(1, np.float32)
        length = float(np.linalg.norm(mean))
        if not length > _LEAST_LENGTH:
            raise OptionError("these items have no direction in common: pick others")
        return np.asarray(mean / length, np.float32)

    def neighbours(self, row: int, k: int) -> list[Json]:
        """Return the k items most similar to one, each with its score; none where it has no vector."""
        vector = self.snapshot.vector(row)
        if vector is None:
            return []
        target = self.snapshot.index.targets[PICTURES]
        found = self.snapshot.index.search(np.asarray(vector, np.float32), k + 1)
        pairs = zip(target.items[found.rows[0]].tolist(), found.scores[0].tolist(), strict=True)
        return [{"row": other, "score": score} for other, score in pairs if other != row][:k]


class Workbench:
    """Everything that the page shows of one store, and the choices made there.

    Parameters
    ----------
    served : ServedStore
    source : str, optional
        The dataset that the store was made of, as ``PATH:FORMAT``; None where the decisions are about the store itself.
    directory : Path
        The folder of the journal, the decisions and the proposals.
    media_roots : sequence of Path
    """

    def __init__(self, served: ServedStore, source: str | None, directory: Path, media_roots: Sequence[Path]) -> None:
        self.served, self.directory = served, directory
        #: The arguments of ``datum-clip decisions apply`` after the file; the pictures of a dataset are saved, too.
        self.applied_to = [source or f"{served.path}:{find_kind(served.path)}", "-o", "curated"]
        if source is not None:
            self.applied_to.append("--save-media")
        self.journal = Journal(directory)
        self.runs = Runs(served.path, directory, media_roots)
        self._kept: dict[str, StoreView] = {}
        self._lock = Lock()

    def current(self) -> StoreView:
        """Return the store as it is now; where it is small and has no map, one is made."""
        snapshot = self.served.snapshot
        # Other requests wait, so that the columns are made once: that takes seconds for 100,000 items.
        with self._lock:
            if snapshot.version not in self._kept:
                view = StoreView(snapshot, places_of(snapshot.index))
                log.info("%s: %d columns", snapshot.name, len(view.columns.specs))
                self._kept[snapshot.version] = view
                if len(self._kept) > _KEPT_VERSIONS:
                    del self._kept[next(iter(self._kept))]
            return self._kept[snapshot.version]

    def has(self, version: str) -> bool:
        """Return whether a version is kept, so that nobody waits for it."""
        return version in self._kept

    def at(self, version: str) -> StoreView:
        """Return a version that a page shows.

        Raises
        ------
        RequestError
            409, if it is no longer kept.
        """
        view = self._kept.get(version)
        if view is None and version != self.served.snapshot.version:
            raise outdated()
        return view or self.current()

    def take_report(self, report: Path) -> None:
        """Let the proposals of a tool's report be reviewed.

        Raises
        ------
        DecisionError
            If it cannot be read, is of another vector space, or about items that the store does not have.
        """
        made, snapshot = read_decisions(report / DECISIONS), self.served.snapshot
        space = snapshot.reader.header.space
        if made.space is not None and space is not None and made.space != space.fingerprint:
            raise DecisionError(f"{report} is of the vector space {made.space}, the store of {space.fingerprint}")
        strange = [str(one.key) for one in made.decisions if snapshot.reader.find(one.key) is None]
        if strange:
            raise DecisionError(f"{report} is about items that the store does not have: {', '.join(strange[:3])} …")
        self.runs.keep(made)

    def proposals(self, view: StoreView) -> list[Json]:
        """Return the proposals about the items of a version, without those that only keep an item for no reason."""
        found = []
        for tool, one in self.runs.proposals():
            row = view.rows.get(one.key)
            if row is None or (one.action == "keep" and not one.reason and one.group is None):
                continue
            told = {name: getattr(one, name) for name in (*_KEPT_OF_PROPOSALS, "annotation", "group", "rank")}
            keeper = None if one.representative is None else view.rows.get(one.representative)
            told |= {"row": row, "tool": tool, "keeper": keeper}
            found.append({name: value for name, value in told.items() if value is not None})
        return found

    def decided(self, view: StoreView) -> Json:
        """Return the choices about the items of a version, and the tags that follow from them."""
        rows = [(row, choice) for choice in self.journal.choices() if (row := view.rows.get(choice.key)) is not None]
        answer: Json = {
            "version": self.journal.version,
            "undoable": self.journal.undoable,
            "choices": [{"row": row, **choice.fields} for row, choice in rows],
        }
        if self.journal.has_tags:
            changes = [(row, choice.tag, choice.action == "tag") for row, choice in rows if choice.tag]
            column = tagged(view.snapshot, changes)
            codes, starts = column.parts
            answer["tags"] = {"values": column.values, "data": codes.tolist(), "starts": starts.tolist()}
        return answer

    def decide(self, view: StoreView, changes: Iterable[Mapping[str, Any]], version: int) -> None:
        """Write down a person's choices, each with the proposal that it follows.

        Raises
        ------
        DecisionConflictError, DecisionError
            As :meth:`Journal.add`.
        """
        proposed: dict[tuple[ItemKey, int | None], list[tuple[str, Decision]]] = defaultdict(list)
        for tool, one in self.runs.proposals():
            if one.action != "keep":
                proposed[one.key, one.annotation].append((tool, one))
        keys = view.snapshot.facts.keys
        choices = []
        for change in changes:
            key, annotation = keys[change["row"]], change.get("annotation")
            # A choice in the gallery names no tool: it follows whatever tool's proposal comes first.
            told = next((one for tool, one in proposed[key, annotation] if change.get("tool") in (None, tool)), None)
            kept = {} if told is None else {name: getattr(told, name) for name in _KEPT_OF_PROPOSALS}
            kept = {name: value for name, value in kept.items() if value not in (None, "")}
            action, tag, group = change["action"], change.get("tag") or "", change.get("group")
            choices.append(Choice(key, action, annotation, tag, group, kept))
        self.journal.add(choices, version)
