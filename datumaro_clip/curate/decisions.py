"""Decisions about items, with their reasons; written to ``decisions.jsonl`` and read back."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from datumaro_clip.errors import DecisionError, with_cure
from datumaro_clip.images import ImageLike
from datumaro_clip.images.gallery import Tile, gallery
from datumaro_clip.system.files import write_text
from datumaro_clip.system.frames import to_frame
from datumaro_clip.system.notices import notice
from datumaro_clip.vectors import ItemKey

log = logging.getLogger(__name__)

FORMAT = "datumaro-clip decisions"
VERSION = 2
_KNOWN_VERSIONS = (1, 2)  # 1 has no tags
_WANTED = "wanted decisions.jsonl, as --report DIR writes it"
# Longer than any decision, and short enough for memory: a file of zeros is one line.
_LONGEST_LINE = 1 << 24
# Fields of a header, and their types.
_HEADER: dict[str, tuple[type, ...]] = {
    "transform": (str,),
    "options": (dict,),
    "space": (str, NoneType),
    "notes": (list, tuple),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
ACTIONS = ("keep", "drop", "mark", "move", "label", "tag", "untag")

Scalar: TypeAlias = str | int | float | bool
Place: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Decision:
    """One decision about one item, or about one of its annotations.

    Attributes
    ----------
    key : ItemKey
    action : str
        ``keep``, ``drop``, ``mark`` (keep, with attributes), ``move`` (to ``subset``), ``label`` (add ``label``),
        ``tag`` or ``untag`` (add ``tag`` to the item's attribute ``tags``, or remove it).
    reason : str
        Short machine-readable reason, as ``near_duplicate``; empty where there is nothing to say.
    score, threshold : float, optional
        The measured value, and the limit that it was compared with.
    group : int, optional
        Number of the duplicate group or cluster, from 0 on.
    representative : ItemKey, optional
        The item of its group that stays.
    annotation : int, optional
        Index into the item's annotations, where the decision is about a caption or a label.
    text : str
        The annotation's caption or class, for a person who judges the decision.
    subset, label : str, optional
        The subset that the item moves to; the label that is added or proposed.
    rank : int, optional
        Place in the order of the result, from 0 on, where that order is not the dataset's.
    detail : str
        A sentence for people.
    attributes : mapping
        Attributes that the item gets.
    occurrence : int, optional
        The number of the item among those of the same id and subset, from 1 on; None for the first.
    tag : str, optional
        The tag that is added or removed.
    resembles : ItemKey, optional
        An item that looks similar and is no copy.
    places : tuple, optional
        Where its picture differs from that item's, in both: ``(x, y, w, h)`` in pixels.
    """

    key: ItemKey
    action: str
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    group: int | None = None
    representative: ItemKey | None = None
    annotation: int | None = None
    text: str = ""
    subset: str | None = None
    label: str | None = None
    rank: int | None = None
    detail: str = ""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    occurrence: int | None = None
    resembles: ItemKey | None = None
    places: tuple[Place, Place] | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise DecisionError(f"item '{self.key}': unknown action {self.action!r}, wanted {', '.join(ACTIONS)}")

    def tile(self, picture: Callable[[], ImageLike] | None) -> Tile:
        """Return the decision as a notebook shows it."""
        score = "" if self.score is None else f" {self.score:.3g}"
        return Tile(self.key.id, f"{self.action} {self.reason.replace('_', ' ')}".strip() + score, picture)

    def __repr__(self) -> str:
        part = "" if self.annotation is None else f" annotation {self.annotation}"
        score = "" if self.score is None else f", score {self.score:.4g}"
        standing = "" if self.representative is None else f", for {str(self.representative)!r}"
        return f"Decision({str(self.key)!r}{part}: {f'{self.action} {self.reason}'.strip()}{score}{standing})"


class Measure(NamedTuple):
    """The scores that a tool measured of all items or texts, and its threshold.

    Attributes
    ----------
    title : str
        The quantity and its unit, as the title of an axis.
    kept, others : tuple of float
        Scores of what stays or was chosen, and of the rest.
    threshold : float or None
        The limit of all; None where each score has its own.
    most : float or None
        The greatest possible value, as 1 of a cosine similarity; None where there is none.
    """

    title: str
    kept: tuple[float, ...]
    others: tuple[float, ...]
    threshold: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class DecisionLog:
    """The decisions of one run.

    Attributes
    ----------
    transform : str
        Name of the plugin that decided.
    options : mapping
        Its options, as JSON values.
    space : str, optional
        Fingerprint of the vector space that scores come from.
    decisions : tuple of Decision
        In the order of the dataset.
    notes : tuple of str
        Findings about several items: leaks across subsets, conflicts of labels.
    measures : tuple of Measure
        Measured scores, for a report; not written to ``decisions.jsonl``.
    pictures : mapping
        Functions that read the items' pictures, for a notebook; not written either.
    """

    transform: str
    options: Mapping[str, Any]
    space: str | None
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = field(default=(), compare=False)
    pictures: Mapping[ItemKey, Callable[[], ImageLike]] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        items = len({decision.key for decision in self.decisions})
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts().items()))
        return f"DecisionLog({self.transform}: {items} items; {counts or 'nothing to decide'})"

    def _repr_html_(self) -> str:
        """Show all decisions but ``keep``, with pictures, in a notebook."""
        shown = [one for one in self.decisions if one.action != "keep"] or list(self.decisions)
        return gallery(repr(self), (one.tile(self.pictures.get(one.key)) for one in shown), len(shown))

    def to_pandas(self) -> Any:
        """Return the decisions as a ``pandas.DataFrame``, one a row, with the fields of ``decisions.jsonl`` as columns.

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        return to_frame(map(as_record, self.decisions), ("id", "subset", "action", "reason", "score", "threshold"))

    def keys_with(self, action: str = "keep") -> list[ItemKey]:
        """Return the items with an action, in order; ``keep`` where none is named."""
        return [one.key for one in self.decisions if one.action == action and one.annotation is None]

    def counts(self) -> Counter[str]:
        """Count the decisions by action and reason, as ``drop near_duplicate``."""
        return Counter(f"{decision.action} {decision.reason}".strip() for decision in self.decisions)


def write_decisions(path: str | os.PathLike[str], log: DecisionLog) -> None:
    """Write a log as JSON lines: a header, then one decision a line; equal logs give equal bytes."""
    write_lines(path, log, [as_line(decision) for decision in log.decisions])


def write_lines(path: str | os.PathLike[str], log: DecisionLog, lines: Sequence[str]) -> None:
    """Write lines that :func:`as_line` made, below a log's header."""
    header = _dump(as_header(log) | {"decisions": len(lines)})
    write_text(path, "\n".join([header, *lines]) + "\n")


def as_line(decision: Decision) -> str:
    """Return a decision as a line of ``decisions.jsonl``."""
    return _dump(as_record(decision))


def read_decisions(path: str | os.PathLike[str]) -> DecisionLog:
    """Read what :func:`write_decisions` wrote.

    Raises
    ------
    DecisionError
        If there is no such file, or it holds something else; the line is named.
    """
    where, lines = os.fspath(path), _lines(path)
    header = _parse(where, *lines[0]) if lines else {}
    if header.get("format") != FORMAT:
        raise DecisionError(f"{where} is not a decisions file; {_WANTED}")
    if header.get("version") not in _KNOWN_VERSIONS:
        raise DecisionError(f"{where} has version {header.get('version')}; upgrade datumaro-clip")
    for name, kind in _HEADER.items():
        if not isinstance(header.get(name, kind[0]()), kind):
            raise DecisionError(f"{where}: {name} of its header is {header[name]!r:.80}; {_WANTED}")
    if (count := header.get("decisions")) != len(lines) - 1:
        raise DecisionError(f"{where} holds {len(lines) - 1} of {count} decisions: it was cut off; {_WANTED}")
    decisions = tuple(_decode(where, number, line) for number, line in lines[1:])
    notes = tuple(map(str, header.get("notes", ())))
    return DecisionLog(str(header.get("transform")), header.get("options", {}), header.get("space"), decisions, notes)


def read_exceptions(path: str | os.PathLike[str]) -> frozenset[ItemKey]:
    """Read the items that a person refuses to drop.

    Each line is ``id@subset``, or a JSON object with ``id`` and ``subset`` (lines copied from a decisions file).
    Empty lines and lines that begin with ``#`` are ignored.
    """
    where, found = os.fspath(path), set()
    for number, line in _lines(path):
        text = line.strip()
        if text.startswith("{"):
            record = _parse(where, number, text)
            if "id" in record and "subset" not in record:
                raise DecisionError(f"{where}, line {number}: an id without a subset: add it, or write id@subset")
            # A file's header is an object without an id.
            found |= {ItemKey(str(record["id"]), str(record["subset"]))} if "id" in record else set()
        elif not text.startswith("#"):
            name, _, subset = text.rpartition("@")
            if not name:
                raise DecisionError(f"{where}, line {number}: wanted id@subset, got {text!r}")
            found.add(ItemKey(name, subset))
    return frozenset(found)


def except_items(decisions: Iterable[Decision], refused: frozenset[ItemKey]) -> list[Decision]:
    """Replace decisions to drop or move items that a person refuses to lose by ``keep``."""
    return [
        Decision(
            one.key, "keep", "excepted", one.score, one.threshold, annotation=one.annotation, occurrence=one.occurrence
        )
        if one.action in ("drop", "move") and one.key in refused
        else one
        for one in decisions
    ]


def tell_unknown_exceptions(refused: Iterable[ItemKey], known: Iterable[ItemKey]) -> None:
    """Warn of exceptions that name no item: their number, and three of them."""
    if unknown := sorted(set(refused) - set(known)):
        names = ", ".join(map(str, unknown[:3]))
        notice(log, "--except: %d lines name no item, as %s; a line is id@subset", len(unknown), names)


def _lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Read the lines of a file that are not blank, with their numbers, from 1."""
    where, lines = os.fspath(path), list[str]()
    try:
        with Path(path).open(encoding="utf-8") as file:
            while line := file.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise DecisionError(f"{where} has a line of more than {_LONGEST_LINE:,} characters; {_WANTED}")
                lines.append(line)
    except OSError as exc:
        raise DecisionError(with_cure(exc)) from exc
    except UnicodeDecodeError as exc:
        raise DecisionError(f"{where} is no text: {exc}; {_WANTED}") from exc
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(where: str, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise DecisionError(f"{where}, line {number} is not JSON: {exc}; {_WANTED}") from exc
    if not isinstance(record, dict):
        raise DecisionError(f"{where}, line {number}: wanted a JSON object; {_WANTED}")
    return record


def as_header(log: DecisionLog) -> dict[str, Any]:
    """Return the first line of a log's ``decisions.jsonl`` as JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "transform": log.transform,
        "options": dict(log.options),
        "space": log.space,
        "notes": list(log.notes),
        "decisions": len(log.decisions),
    }


def as_record(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON values, as ``decisions.jsonl`` has it: without empty fields."""
    record: dict[str, Any] = {"id": decision.key.id, "subset": decision.key.subset}
    for each in fields(decision)[1:]:
        value = getattr(decision, each.name)
        if value is None or value in ("", {}):
            continue
        record["move_to" if each.name == "subset" else each.name] = plain(value)
    return record


def plain(value: Any) -> Any:
    """Convert a value to JSON's types; floats to six digits, which say all that a float32 score holds."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, ItemKey):
        return value._asdict()
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def _decode(where: str, number: int, line: str) -> Decision:
    record = _parse(where, number, line)
    try:
        key = ItemKey(str(record.pop("id")), str(record.pop("subset")))
        for name in {"representative", "resembles"} & record.keys():
            record[name] = ItemKey(**record[name])
        if "move_to" in record:
            record["subset"] = record.pop("move_to")
        if "places" in record:
            here, there = (tuple(map(int, place)) for place in record["places"])
            record["places"] = here, there
        for name, value in record.items():
            wanted, holds = _FIELDS.get(name, _ANYTHING)
            if not holds(value):
                raise ValueError(f"{name} {wanted}, got {value!r}")
        return Decision(key, **record)
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise DecisionError(f"{where}, line {number} is not a decision: {exc}; {_WANTED}") from exc


def _is_subset(value: Any) -> bool:
    """Whether a text can be a subset's name, which becomes a part of paths that exporters write."""
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


_Check: TypeAlias = tuple[str, Callable[[Any], bool]]
_ANYTHING: _Check = ("", lambda value: True)
_TEXT: _Check = ("must be a text", lambda value: isinstance(value, str))
_COUNT: _Check = (
    "must be a whole number from 0 on",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
)
_NUMBER: _Check = (
    "must be a finite number",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
)
_PLAIN: _Check = (
    "must hold texts, numbers and booleans",
    lambda value: isinstance(value, Mapping) and all(isinstance(one, str | int | float) for one in value.values()),
)
# What fields of a file must be, since they become paths, indices and attributes: in words, and as a check.
_FIELDS: dict[str, _Check] = {
    **dict.fromkeys(("action", "reason", "text", "label", "detail", "tag"), _TEXT),
    **dict.fromkeys(("group", "annotation", "rank", "occurrence"), _COUNT),
    **dict.fromkeys(("score", "threshold"), _NUMBER),
    "subset": ("must be a plain name without slashes", _is_subset),
    "attributes": _PLAIN,
}


def _dump(record: Mapping[str, Any]) -> str:
    """Return a record as a line; surrogates, which stand for bytes of a name that are no UTF-8, are escaped."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", line)
