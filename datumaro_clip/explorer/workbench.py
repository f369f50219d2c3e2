"""One store on the page: its columns, its map, what is proposed and what is decided."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from datumaro_clip.curate.decisions import Decision, read_decisions
from datumaro_clip.errors import DecisionError, OptionError
from datumaro_clip.explorer.columns import Column, Packed, columns_of, packed, tagged
from datumaro_clip.explorer.journal import DECISIONS, Choice, Journal
from datumaro_clip.explorer.map import make_map, map_of
from datumaro_clip.explorer.regions import Region, name_regions, words_of
from datumaro_clip.explorer.runs import Runs
from datumaro_clip.index import PICTURES
from datumaro_clip.service.collection import ServedStore
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.similarity.layout import Points
from datumaro_clip.vectors import FloatArray

# Versions of a store that pages may still look at, after it has changed.
_KEPT_VERSIONS = 4
# A store of so many vectors gets its map when its page is first opened; a larger one waits for `datum-clip map`.
_MAPPED_AT_ONCE = 20_000
_BLOCK = 1 << 14
# A mean of unit vectors shorter than this is rounding.
_LEAST_LENGTH = 1e-6

Json = dict[str, Any]


class OutdatedError(OptionError):
    """The page looks at a version of the store that is no longer held: reload it."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One version of a store as the page sees it; rows keep their meaning as long as it is held.

    Attributes
    ----------
    snapshot : Snapshot
        N items.
    points : numpy.ndarray or None
        Shape (N, 2), float32: places on the map, NaN for items without a vector; None where there is no map.
    """

    snapshot: Snapshot
    points: Points | None

    @cached_property
    def columns(self) -> Packed:
        """The columns that the page begins with."""
        return packed(list(columns_of(self.snapshot, self.points)))

    @cached_property
    def regions(self) -> list[Region]:
        """Names of places on the map."""
        if self.points is None:
            return []
        labels = self.snapshot.index.columns.labels
        names: list[list[str]] = [[] for _ in range(len(self.snapshot))]
        for row, code in zip(labels.items.tolist(), labels.codes.tolist(), strict=True):
            names[row].append(labels.words[code])
        if not labels.words:
            names = [words_of([text]) for text in self.snapshot.facts.texts]
        there = np.flatnonzero(~np.isnan(self.points[:, 0]))
        return name_regions(self.points[there], [names[row] for row in there.tolist()])

    def scores(self, query: FloatArray) -> FloatArray:
        """The cosine similarity (N,) of every item's picture with a query (D,), float32; NaN without a vector."""
        target = self.snapshot.index.targets[PICTURES]
        found = np.full(len(self.snapshot), np.nan, np.float32)
        for start in range(0, len(target), _BLOCK):
            block = np.asarray(target.vectors[start : start + _BLOCK], np.float32)
            found[target.items[start : start + len(block)]] = block @ query
        return found

    def mean_vector(self, rows: Sequence[int]) -> FloatArray:
        """The mean direction (D,) of some items' vectors.

        Raises
        ------
        OptionError
            If none of them has a vector, or they point in all directions.
        """
        target = self.snapshot.index.targets[PICTURES]
        held = np.flatnonzero(np.isin(target.items, np.asarray(rows, np.int64)))
        mean = np.asarray(target.vectors[held], np.float32).mean(axis=0) if len(held) else np.zeros(1, np.float32)
        length = float(np.linalg.norm(mean))
        if not length > _LEAST_LENGTH:
            raise OptionError("these items have no direction in common: pick others")
        return np.asarray(mean / length, np.float32)

    def neighbours(self, row: int, k: int) -> list[Json]:
        """The k items most similar to one, each with its score; none where it has no vector."""
        vector = self.snapshot.vector(row)
        if vector is None:
            return []
        target = self.snapshot.index.targets[PICTURES]
        found = self.snapshot.index.search(np.asarray(vector, np.float32), k + 1)
        pairs = zip(target.items[found.rows[0]].tolist(), found.scores[0].tolist(), strict=True)
        return [{"row": other, "score": score} for other, score in pairs if other != row][:k]


class Workbench:
    """What people do with one store.

    Parameters
    ----------
    served : ServedStore
    source : str
        The dataset that decisions are about, as ``PATH:FORMAT``.
    directory : Path
        Where the journal, the decisions and the proposals are kept.
    media_roots : sequence of Path
    """

    def __init__(self, served: ServedStore, source: str, directory: Path, media_roots: Sequence[Path]) -> None:
        self.served, self.source, self.directory = served, source, directory
        self.journal = Journal(directory)
        self.runs = Runs(served.path, directory, media_roots)
        self._held: OrderedDict[str, Seen] = OrderedDict()
        self._lock = Lock()

    def now(self) -> Seen:
        """The store as it is; its map is made where there is none and the store is small."""
        snapshot = self.served.snapshot
        with self._lock:
            if snapshot.version not in self._held:
                self._held[snapshot.version] = Seen(snapshot, _places(snapshot))
                while len(self._held) > _KEPT_VERSIONS:
                    self._held.popitem(last=False)
            return self._held[snapshot.version]

    def at(self, version: str) -> Seen:
        """A version that a page looks at.

        Raises
        ------
        OutdatedError
            If it is not held any more.
        """
        if version in self._held:
            return self._held[version]
        if version == self.served.snapshot.version:
            return self.now()
        raise OutdatedError("the store has changed since this page was loaded: reload it")

    def take_report(self, report: Path) -> None:
        """Let what a tool's report proposes be reviewed.

        Raises
        ------
        DecisionError
            If it cannot be read, is of another vector space, or about items that the store does not have.
        """
        made, snapshot = read_decisions(report / DECISIONS), self.served.snapshot
        space = snapshot.reader.header.space
        if made.space is not None and space is not None and made.space != space.fingerprint:
            raise DecisionError(f"{report} is of the vector space {made.space}, the store of {space.fingerprint}")
        strange = [str(one.key) for one in made.decisions if snapshot.find(one.key) is None]
        if strange:
            raise DecisionError(f"{report} is about items that the store does not have: {', '.join(strange[:3])} …")
        self.runs.keep(made)

    def proposals(self, seen: Seen) -> list[Json]:
        """What the tools propose about the items of a version; about others, nothing is said."""
        return [told for tool, one in self.runs.proposals() if (told := _proposal(seen.snapshot, tool, one))]

    def decided(self, seen: Seen) -> Json:
        """The choices about the items of a version, and the tags that follow from them."""
        choices = self.journal.choices()
        rows = [(seen.snapshot.find(choice.key), choice) for choice in choices]
        told = [_choice(row, choice) for row, choice in rows if row is not None]
        answer: Json = {"version": self.journal.version, "undoable": self.journal.undoable, "choices": told}
        tags = [(row, choice) for row, choice in rows if row is not None and choice.tag]
        if tags or self.journal.version:
            answer["tags"] = _tags(tagged(seen.snapshot, [(r, c.tag, c.action == "tag") for r, c in tags]))
        return answer

    def decide(self, seen: Seen, changes: Iterable[Mapping[str, Any]], version: int) -> None:
        """Write down what a person decided, with what was proposed about it.

        Raises
        ------
        DecisionConflictError, DecisionError
            As :meth:`Journal.add`.
        """
        proposed = {(one.key, one.annotation): one for _, one in self.runs.proposals() if one.action != "keep"}
        keys = seen.snapshot.facts.keys
        choices = []
        for change in changes:
            key, annotation = keys[change["row"]], change.get("annotation")
            told = proposed.get((key, annotation))
            choices.append(
                Choice(key, change["action"], annotation, change.get("tag") or "", {} if told is None else _kept(told))
            )
        self.journal.add(choices, version)


def _places(snapshot: Snapshot) -> Points | None:
    """The place of each item on the map; None where there is no map."""
    target = snapshot.index.targets[PICTURES]
    points = map_of(snapshot.index)
    if points is None and 0 < len(target) <= _MAPPED_AT_ONCE:
        points = make_map(snapshot.index)
    if points is None:
        return None
    places = np.full((len(snapshot), 2), np.nan, np.float32)
    places[target.items] = points
    return places


def _proposal(snapshot: Snapshot, tool: str, one: Decision) -> Json | None:
    row = snapshot.find(one.key)
    if row is None:
        return None
    keeper = None if one.representative is None else snapshot.find(one.representative)
    told = {name: getattr(one, name) for name in ("action", "reason", "detail", "score", "threshold", "annotation")}
    told |= {"group": one.group, "keeper": keeper, "rank": one.rank, "label": one.label, "text": one.text}
    return {"row": row, "tool": tool, **{name: value for name, value in told.items() if value is not None}}


def _choice(row: int, choice: Choice) -> Json:
    told = {"row": row, "action": choice.action, "by": choice.by, "at": choice.at}
    extra = {"annotation": choice.annotation, "tag": choice.tag or None}
    return told | {name: value for name, value in extra.items() if value is not None}


def _kept(proposal: Decision) -> Json:
    """What a choice remembers of a proposal."""
    told = {
        name: getattr(proposal, name) for name in ("action", "reason", "score", "threshold", "detail", "text", "label")
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _tags(column: Column) -> Json:
    codes, starts = column.parts
    return {"values": column.values, "data": codes.tolist(), "starts": starts.tolist()}
