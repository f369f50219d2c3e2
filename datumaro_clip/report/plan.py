"""What a report shows: which items in which section, how many, and which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from datumaro_clip.curate.decisions import Decision, DecisionLog, Place
from datumaro_clip.vectors import ItemKey

#: An item, and what of it is meant where it is not the item itself: an annotation, or a place in its picture.
Subject = tuple[ItemKey, int | Place | None]

# What a page holds that still opens at once: about 5 MB of thumbnails in ten sections.
TILES = 60
GROUPS = 40
GROUP_MEMBERS = 12
HISTOGRAM_FEWEST = 12
_HISTOGRAM_THRESHOLDS = 3
# Reasons that say that nothing is the matter.
_QUIET = frozenset(
    {("keep", ""), ("keep", "representative"), ("keep", "aligned"), ("keep", "no_text"), ("drop", "no_hit")}
)
# Reasons that say that an item is what the user asked for.
_SOUGHT = frozenset({"hit", "picked"})


@dataclass(frozen=True)
class Section:
    """Items of one action and reason, the most striking first, and how many more there are."""

    action: str
    reason: str
    shown: tuple[Decision, ...]
    left_out: int

    @property
    def threshold(self) -> float | None:
        """The threshold that all were compared with, if it was one."""
        found = {one.threshold for one in self.shown}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Group:
    """A duplicate group: the item that stays, those that go, and how many more of them there are."""

    number: int
    keeper: Decision
    members: tuple[Decision, ...]
    left_out: int


@dataclass(frozen=True)
class Histogram:
    """Scores of kept and of other decisions that were compared with one threshold (None where there are many)."""

    name: str
    kept: tuple[float, ...]
    others: tuple[float, ...]
    threshold: float | None


@dataclass(frozen=True)
class Report:
    """Everything that the page needs but the thumbnails."""

    log: DecisionLog
    sections: tuple[Section, ...]
    groups: tuple[Group, ...]
    groups_left_out: int
    histograms: tuple[Histogram, ...]

    @cached_property
    def counts(self) -> Counter[tuple[str, str, str]]:
        """Decisions by action, reason and subject (``items`` or ``annotations``): what was sought, then the most."""
        found = Counter((one.action, one.reason, _subject(one)) for one in self.log.decisions)
        return Counter(dict(sorted(found.items(), key=lambda pair: (pair[0][1] not in _SOUGHT, -pair[1]))))

    def subjects(self) -> frozenset[Subject]:
        """The items, and the annotations and places of them, that need a thumbnail."""
        in_groups = (one for group in self.groups for one in (group.keeper, *group.members))
        in_sections = [one for section in self.sections for one in section.shown]
        whole = ((one.key, one.annotation) for part in (in_groups, in_sections) for one in part)
        return frozenset(whole) | {place for one in in_sections for place in places(one)}


def places(one: Decision) -> tuple[Subject, ...]:
    """The place at which an item's picture differs from another's, in both; nothing where none is told."""
    if one.places is None or one.resembles is None:
        return ()
    return (one.key, one.places[0]), (one.resembles, one.places[1])


def plan_report(log: DecisionLog) -> Report:
    """Choose what to show of a log; thumbnails for :meth:`Report.subjects` are all that is missing then."""
    grouped = _by_group(log)
    groups = sorted(grouped.values(), key=lambda group: (-len(group.members) - group.left_out, group.number))
    return Report(log, tuple(_sections(log)), tuple(groups[:GROUPS]), len(groups[GROUPS:]), tuple(_histograms(log)))


def _subject(decision: Decision) -> str:
    return "items" if decision.annotation is None else "annotations"


def _by_group(log: DecisionLog) -> Mapping[int, Group]:
    keepers = {one.group: one for one in log.decisions if one.group is not None and one.representative is None}
    members: dict[int, list[Decision]] = {}
    for one in log.decisions:
        if one.group is not None and one.representative is not None:
            members.setdefault(one.group, []).append(one)
    return {
        number: Group(number, keepers[number], tuple(found[:GROUP_MEMBERS]), len(found[GROUP_MEMBERS:]))
        for number, found in members.items()
        if number in keepers
    }


def _sections(log: DecisionLog) -> Iterator[Section]:
    """One section for each action and reason that groups do not show: what was sought, then what changes most."""
    found: dict[tuple[str, str], list[Decision]] = {}
    for one in log.decisions:
        if one.group is None and (one.action, one.reason) not in _QUIET:
            found.setdefault((one.action, one.reason), []).append(one)
    for (action, reason), decisions in sorted(found.items(), key=lambda pair: _weight(*pair[0])):
        ranked = sorted(decisions, key=_striking)
        yield Section(action, reason, tuple(ranked[:TILES]), len(ranked[TILES:]))


def _weight(action: str, reason: str) -> tuple[bool, int, str]:
    """Sorts first what is to be seen first."""
    return (reason not in _SOUGHT, ("drop", "move", "mark", "label", "keep").index(action), reason)


def _striking(decision: Decision) -> tuple[float, float]:
    """Hits in their order; else the farthest from the threshold first."""
    if decision.rank is not None:
        return (decision.rank, 0.0)
    if decision.score is None or decision.threshold is None:
        return (0.0, 0.0)
    return (0.0, -abs(decision.score - decision.threshold))


def _histograms(log: DecisionLog) -> Iterator[Histogram]:
    scored = [one for one in log.decisions if one.score is not None]
    by_threshold: dict[float | None, list[Decision]] = {}
    for one in scored:
        by_threshold.setdefault(one.threshold, []).append(one)
    if len(by_threshold) > _HISTOGRAM_THRESHOLDS:
        by_threshold = {None: scored}
    for threshold, decisions in by_threshold.items():
        scores = {one.score for one in decisions}
        if len(decisions) >= HISTOGRAM_FEWEST and len(scores) > 1:
            yield _histogram(threshold, decisions)


def _histogram(threshold: float | None, decisions: list[Decision]) -> Histogram:
    name = ", ".join(sorted({one.reason or "kept" for one in decisions}))
    kept = tuple(one.score for one in decisions if one.action in ("keep", "label") and one.score is not None)
    others = tuple(one.score for one in decisions if one.action not in ("keep", "label") and one.score is not None)
    return Histogram(name, kept, others, threshold)
