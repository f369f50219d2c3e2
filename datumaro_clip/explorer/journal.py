"""The journal of what people decide on the page, and the decisions that follow from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

from datumaro_clip.curate.decisions import Decision, DecisionLog, as_line, write_lines
from datumaro_clip.errors import DecisionConflictError, DecisionError, with_cure
from datumaro_clip.system.files import write_text
from datumaro_clip.vectors import ItemKey

#: What a person can do about an item or an annotation. ``accept`` follows a proposal that does not drop; ``split``
#: moves an item into another group of duplicates and decides nothing; ``clear`` takes an earlier choice back.
ACTIONS = ("keep", "drop", "accept", "tag", "untag", "split", "clear")
JOURNAL, DECISIONS, EXCEPTIONS = "journal.jsonl", "decisions.jsonl", "except.txt"


@dataclass(frozen=True)
class Choice:
    """One choice of a person.

    Attributes
    ----------
    key : ItemKey
    action : str
        One of :data:`ACTIONS`.
    annotation : int, optional
        Index of the annotation that it concerns; None for the whole item.
    tag : str
        Where the action is ``tag`` or ``untag``.
    group : int, optional
        Where the action is ``split``: the number of the group.
    proposal : mapping
        What a tool had proposed about the same item or annotation.
    by, at : str
        Who, and when (ISO 8601, UTC).
    """

    key: ItemKey
    action: str
    annotation: int | None = None
    tag: str = ""
    group: int | None = None
    proposal: Mapping[str, Any] = field(default_factory=dict)
    by: str = "you"
    at: str = ""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise DecisionError(f"item '{self.key}': unknown action {self.action!r}, wanted {', '.join(ACTIONS)}")
        if (self.action in ("tag", "untag")) != bool(self.tag):
            raise DecisionError(f"item '{self.key}': {self.action!r} and the tag {self.tag!r} do not go together")
        if (self.action == "split") != (self.group is not None):
            raise DecisionError(f"item '{self.key}': {self.action!r} and the group {self.group} do not go together")

    @cached_property
    def line(self) -> str:
        """Its decision as a line of ``decisions.jsonl``, made once because every click writes all lines."""
        return as_line(_decision(self))

    @property
    def fields(self) -> dict[str, Any]:
        """Its fields as the journal and the page have them, without those that are not set."""
        said = {"action": self.action, "by": self.by, "at": self.at}
        more = {"annotation": self.annotation, "tag": self.tag or None, "group": self.group}
        return said | {name: value for name, value in more.items() if value is not None}


class Journal:
    """The choices about one store, in a directory of their own.

    The choices of one :meth:`add` are one line, synced before it returns; a line that a crash cut off was never
    confirmed, and is left out. ``decisions.jsonl`` and ``except.txt`` are written whole after each line.

    Parameters
    ----------
    directory : Path
        Made when the first choice is written.

    Attributes
    ----------
    version : int
        The number of lines; a writer names the version that it has seen.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = Lock()
        self._lines: list[list[Choice] | int] = _read(directory / JOURNAL)

    @property
    def version(self) -> int:
        return len(self._lines)

    @property
    def undoable(self) -> int:
        """The number of lines that can still be taken back."""
        return len(self._standing())

    @property
    def has_tags(self) -> bool:
        """Whether a tag was ever added or taken away, even if that was undone."""
        return any(choice.tag for line in self._lines if isinstance(line, list) for choice in line)

    def choices(self) -> list[Choice]:
        """Return the latest choice about each item or annotation, then groups, then tags, in the journal's order."""
        said: dict[tuple[ItemKey, int | None], Choice] = {}
        groups: dict[ItemKey, Choice] = {}
        tags: dict[tuple[ItemKey, str], Choice] = {}
        for choice in chain.from_iterable(self._standing().values()):
            if choice.tag:
                tags.pop((choice.key, choice.tag), None)
                tags[choice.key, choice.tag] = choice
            elif choice.group is not None:
                groups[choice.key] = choice
            else:
                said.pop((choice.key, choice.annotation), None)
                if choice.action != "clear":
                    said[choice.key, choice.annotation] = choice
        return [*said.values(), *groups.values(), *tags.values()]

    def add(self, choices: Sequence[Choice], seen: int) -> int:
        """Write choices as one line; return the new version.

        Raises
        ------
        DecisionConflictError
            If somebody else has written since the version ``seen``; then nothing is written.
        DecisionError
            If the journal cannot be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        dated = [replace(choice, at=now) for choice in choices]
        return self._append(dated, {"choices": [_encoded(choice) for choice in dated]}, seen)

    def undo(self, seen: int) -> int:
        """Take back the latest line that stands, by another line; return the new version.

        Raises
        ------
        DecisionConflictError, DecisionError
            As :meth:`add`; also if nothing is left to take back.
        """
        last = max(self._standing(), default=None)
        if last is None:
            raise DecisionError("there is nothing left to undo")
        return self._append(last, {"undo": last}, seen)

    def _standing(self) -> dict[int, list[Choice]]:
        """Return the lines with choices that no later line takes back, by number."""
        undone = {line for line in self._lines if isinstance(line, int)}
        return {n: line for n, line in enumerate(self._lines) if isinstance(line, list) and n not in undone}

    def _append(self, line: list[Choice] | int, record: Mapping[str, Any], seen: int) -> int:
        with self._lock:
            if seen != self.version:
                raise DecisionConflictError(
                    f"the decisions changed meanwhile (version {self.version}, yours is {seen}): load them, then decide"
                )
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                with open(self.directory / JOURNAL, "ab") as file:
                    file.write(json.dumps(record, ensure_ascii=True).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as exc:
                raise DecisionError(f"the decision was not written: {with_cure(exc)}") from exc
            self._lines.append(line)
            self._write_files()
            return self.version

    def _write_files(self) -> None:
        """Write the files that follow from the choices, for ``decisions apply`` and for ``--except``."""
        choices = self.choices()
        lines = [choice.line for choice in choices if choice.action != "split"]
        write_lines(self.directory / DECISIONS, DecisionLog("explorer", {}, None, ()), lines)
        # As JSON, since an id may begin with "#", which is a comment there, or hold bytes that are no UTF-8.
        kept = [f"{choice.line}\n" for choice in choices if choice.action == "keep" and choice.annotation is None]
        write_text(self.directory / EXCEPTIONS, "".join(kept))


def _decision(choice: Choice) -> Decision:
    """Return what a choice means for the dataset."""
    if choice.tag:
        return Decision(choice.key, choice.action, "by_hand", tag=choice.tag)
    if choice.action == "accept":
        return Decision(choice.key, annotation=choice.annotation, **choice.proposal)
    told = {name: choice.proposal[name] for name in ("score", "threshold", "detail", "text") if name in choice.proposal}
    reason = str(choice.proposal.get("reason") or "by_hand") if choice.action == "drop" else "excepted"
    return Decision(choice.key, choice.action, reason, annotation=choice.annotation, **told)


def _encoded(choice: Choice) -> dict[str, Any]:
    record = {"id": choice.key.id, "subset": choice.key.subset, **choice.fields}
    return {**record, "proposal": dict(choice.proposal)} if choice.proposal else record


def _read(path: Path) -> list[list[Choice] | int]:
    """Read the lines of a journal; the beginning of a last line that was cut off is removed from the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise DecisionError(with_cure(exc)) from exc
    whole, _, cut = data.rpartition(b"\n")
    if cut:
        os.truncate(path, len(data) - len(cut))
    return [_line(path, number, line) for number, line in enumerate(whole.splitlines(), start=1)]


def _line(path: Path, number: int, line: bytes) -> list[Choice] | int:
    try:
        record = json.loads(line)
        if "undo" in record:
            return int(record["undo"])
        return [
            Choice(
                ItemKey(str(one["id"]), str(one["subset"])),
                str(one["action"]),
                one.get("annotation"),
                str(one.get("tag", "")),
                one.get("group"),
                dict(one.get("proposal", {})),
                str(one.get("by", "")),
                str(one.get("at", "")),
            )
            for one in record["choices"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DecisionError(f"{path}, line {number} is not what the explorer wrote; move the file away") from exc
