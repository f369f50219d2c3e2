"""Plan a report: the decisions that it shows, their order, and the sizes of their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from datumaro_clip.curate.decisions import Decision, DecisionLog, Place
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.tools import MODULES, tool_named
from datumaro_clip.vectors import ItemKey


class Subject(NamedTuple):
    """The subject of a picture: an item, one of its annotations, or a place in its picture.

    Attributes
    ----------
    key : ItemKey
    occurrence : int
        The number of the item among those of its key, from 0 on.
    part : int, tuple or None
        Index of an annotation; a place ``(x, y, w, h)`` in pixels; None for the item itself.
    """

    key: ItemKey
    occurrence: int = 0
    part: int | Place | None = None


# Bytes of all pictures together, and of one; with base64 and 10,000 decisions, a page stays below 25 MB.
_ALL_PICTURES = 14_000_000
_ONE_PICTURE = 24_000
# A picture of a finding gets so many times the bytes of others.
_STRIKING = 4
# Actions and reasons of items without a finding.
_QUIET = frozenset({("keep", ""), ("keep", "aligned"), ("keep", "no_text"), ("drop", "no_hit"), ("drop", "not_picked")})
# Reasons of items that the user asked for.
_SOUGHT = frozenset({"hit", "picked"})
_WEIGHTS = ("drop", "move", "mark", "label", "tag", "untag", "keep")


@dataclass(frozen=True)
class Plan:
    """The decisions of a log that a page shows.

    Attributes
    ----------
    log : DecisionLog
    shown : tuple of int
        Indices of decisions, the most important first.
    """

    log: DecisionLog
    shown: tuple[int, ...]

    @property
    def left_out(self) -> int:
        """Number of decisions that the page does not show."""
        return len(self.log.decisions) - len(self.shown)

    @cached_property
    def decisions(self) -> list[Decision]:
        """The shown decisions, in order."""
        return [self.log.decisions[n] for n in self.shown]

    @property
    def selects(self) -> bool:
        """Whether the tool chose items to keep, so that the others count as not chosen, rather than as dropped."""
        return self.log.transform == "search" or (
            self.log.transform in MODULES and tool_named(self.log.transform).selects
        )

    @property
    def found_nothing(self) -> str:
        """The sentence of a run without findings; empty with findings."""
        if any(one.reason in _SOUGHT for one in self.log.decisions):
            return ""
        if not self.selects and any(one.action != "keep" for one in self.log.decisions):
            return ""
        return tool_named(self.log.transform).nothing if self.log.transform in MODULES else "nothing was found"

    def pictures(self) -> dict[Subject, int]:
        """Return the subjects that need a picture, with the most bytes of each."""
        weights: dict[Subject, int] = {}
        for one in self.decisions:
            weight = 1 if _is_quiet(one) else _STRIKING
            for subject in (subject_of(one), *places(one)):
                weights[subject] = max(weights.get(subject, 0), weight)
        share = _ALL_PICTURES / max(sum(weights.values()), 1)
        return {subject: min(_ONE_PICTURE, int(share * weight)) for subject, weight in weights.items()}


def subject_of(one: Decision) -> Subject:
    """Return the subject of a decision's picture."""
    return Subject(one.key, one.occurrence or 0, one.annotation)


def places(one: Decision) -> tuple[Subject, ...]:
    """Return the places where the pictures of two look-alikes differ, one in each; nothing for other decisions."""
    if one.places is None or one.resembles is None:
        return ()
    return Subject(one.key, one.occurrence or 0, one.places[0]), Subject(one.resembles, 0, one.places[1])


def numbered(items: Iterable[Item]) -> Iterator[tuple[tuple[ItemKey, int], Item]]:
    """Yield each item with its key and its number among the items of that key, from 0 on."""
    seen: Counter[ItemKey] = Counter()
    for item in items:
        yield (item.key, seen[item.key]), item
        seen[item.key] += 1


def plan_report(log: DecisionLog, limit: int | None = None) -> Plan:
    """Choose at most ``limit`` decisions: chosen items first, then groups, then findings, then the others."""
    sizes = Counter(one.group for one in log.decisions if one.group is not None)
    order = sorted(range(len(log.decisions)), key=lambda n: _rank(log.decisions[n], sizes))
    return Plan(log, tuple(order[:limit]))


def _rank(one: Decision, sizes: Mapping[int, int]) -> tuple[int, float, str, float]:
    """Return a sort key; members of a group come together, behind the one that stays."""
    if one.reason in _SOUGHT:
        return 0, one.rank or 0, "", 0
    if one.group is not None:
        return 1, -sizes[one.group], f"{one.group:09d}", float(one.representative is not None)
    if _is_quiet(one):
        return 3, 0, "", 0
    striking = 0.0 if one.score is None or one.threshold is None else -abs(one.score - one.threshold)
    return 2, _WEIGHTS.index(one.action), one.reason, striking


def _is_quiet(one: Decision) -> bool:
    return (one.action, one.reason) in _QUIET and one.group is None
