"""What a report shows: which decisions, in which order, and what pictures of what size they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from datumaro_clip.curate.decisions import Decision, DecisionLog, Place
from datumaro_clip.curate.tools import MODULES, tool_named
from datumaro_clip.vectors import ItemKey


class Subject(NamedTuple):
    """What a picture is of: an item, one of its annotations, or a place in its picture.

    Attributes
    ----------
    key : ItemKey
    occurrence : int
        Which of several items of that key, from 0 on.
    part : int, tuple or None
        Index of an annotation; a place ``(x, y, w, h)`` in pixels; None for the item itself.
    """

    key: ItemKey
    occurrence: int = 0
    part: int | Place | None = None


# Bytes of all pictures together, and of one; with base64 and 10,000 decisions, a page stays below 25 MB.
_ALL_PICTURES = 14_000_000
_ONE_PICTURE = 24_000
# How many times as many bytes a picture gets that something is the matter with.
_STRIKING = 4
# Reasons that say that nothing is the matter.
_QUIET = frozenset({("keep", ""), ("keep", "aligned"), ("keep", "no_text"), ("drop", "no_hit"), ("drop", "not_picked")})
# Reasons that say that an item is what the user asked for.
_SOUGHT = frozenset({"hit", "picked"})
_WEIGHTS = ("drop", "move", "mark", "label", "tag", "untag", "keep")


@dataclass(frozen=True)
class Plan:
    """What a page shows of a log.

    Attributes
    ----------
    log : DecisionLog
    shown : tuple of int
        Which of its decisions, the most telling first.
    """

    log: DecisionLog
    shown: tuple[int, ...]

    @property
    def left_out(self) -> int:
        """How many decisions the page does not show."""
        return len(self.log.decisions) - len(self.shown)

    @cached_property
    def decisions(self) -> list[Decision]:
        """The decisions that are shown, in their order."""
        return [self.log.decisions[n] for n in self.shown]

    @property
    def selects(self) -> bool:
        """Whether the tool chose what to keep, so that all else was not asked for rather than dropped."""
        return self.log.transform == "search" or (
            self.log.transform in MODULES and tool_named(self.log.transform).selects
        )

    @property
    def found_nothing(self) -> str:
        """What to say where nothing was found; empty where something was."""
        if any(one.reason in _SOUGHT for one in self.log.decisions):
            return ""
        if not self.selects and any(one.action != "keep" for one in self.log.decisions):
            return ""
        return tool_named(self.log.transform).nothing if self.log.transform in MODULES else "nothing was found"

    def pictures(self) -> dict[Subject, int]:
        """The subjects that need a picture, each with the bytes that it may have."""
        weights: dict[Subject, int] = {}
        for one in self.decisions:
            weight = 1 if _is_quiet(one) else _STRIKING
            for subject in (subject_of(one), *places(one)):
                weights[subject] = max(weights.get(subject, 0), weight)
        share = _ALL_PICTURES / max(sum(weights.values()), 1)
        return {subject: min(_ONE_PICTURE, int(share * weight)) for subject, weight in weights.items()}


def subject_of(one: Decision) -> Subject:
    """What the picture of a decision shows."""
    return Subject(one.key, one.occurrence or 0, one.annotation)


def places(one: Decision) -> tuple[Subject, ...]:
    """The place at which an item's picture differs from another's, in both; nothing where none is told."""
    if one.places is None or one.resembles is None:
        return ()
    return Subject(one.key, one.occurrence or 0, one.places[0]), Subject(one.resembles, 0, one.places[1])


def plan_report(log: DecisionLog, limit: int | None = None) -> Plan:
    """Choose the decisions to show, ``limit`` at most: what was sought, groups, what changes most, all others."""
    sizes = Counter(one.group for one in log.decisions if one.group is not None)
    order = sorted(range(len(log.decisions)), key=lambda n: _rank(log.decisions[n], sizes))
    return Plan(log, tuple(order[:limit]))


def _rank(one: Decision, sizes: Mapping[int, int]) -> tuple[int, float, str, float]:
    """Sorts first what is to be seen first; a group's members together, behind the one that stays."""
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
