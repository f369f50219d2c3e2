"""The options that every curation transform has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from datumaro_clip.errors import OptionError, with_cure

#: What an ``--action`` begins with that moves items; the name of their new subset follows.
MOVE = "subset:"

COMMON_DEFAULTS: dict[str, Any] = {
    "action": "drop",
    "subset": (),
    "protect": (),
    "report": None,
    "except_file": None,
}


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Declare what every curation transform has."""
    group = parser.add_argument_group("decisions")
    group.add_argument(
        "--action", default="drop", metavar="{drop,mark,subset:NAME}", help="what becomes of what is found"
    )
    group.add_argument("--subset", nargs="+", default=(), metavar="NAME", help="work on these subsets only")
    group.add_argument("--protect", nargs="+", default=(), metavar="NAME", help="never drop from these subsets")
    group.add_argument("--report", metavar="DIR", help="write report.html and decisions.jsonl there")
    group.add_argument("--except", dest="except_file", metavar="FILE", help="items never to drop, id@subset a line")


def require_action(action: str) -> None:
    """Raise :class:`OptionError` unless the action is ``drop``, ``mark`` or ``subset:NAME``."""
    named = action.startswith(MOVE) and len(action) > len(MOVE)
    if action not in ("drop", "mark") and not named:
        raise OptionError(f"--action must be drop, mark or subset:NAME, got {action!r}")


def make_report_directory(path: Path) -> None:
    """Before there is anything to report, so that nothing is decided in vain.

    Raises
    ------
    OptionError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OptionError(f"--report {with_cure(exc)}") from exc


def names_of(value: Any) -> frozenset[str]:
    """Names given as one text, as several, or not at all."""
    if value is None:
        return frozenset()
    return frozenset([value] if isinstance(value, str) else value)
