"""``datum-clip decisions``: replay what was decided, or compare two runs."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from datumaro_clip.cli.printing import say, say_aside, say_json
from datumaro_clip.curate.decisions import (
    Decision,
    DecisionLog,
    as_record,
    except_items,
    read_decisions,
    read_exceptions,
    tell_unknown_exceptions,
)

NAME = "decisions"
HELP = "replay decisions on a dataset without a model, or compare two decisions files"

_SHOWN = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``apply`` and ``diff``."""
    actions = parser.add_subparsers(dest="action", required=True)
    apply = actions.add_parser("apply", help="write the dataset as the decisions leave it")
    apply.add_argument("file", help="decisions.jsonl, as --report writes it")
    apply.add_argument("dataset", help="PATH[:FORMAT]")
    apply.add_argument("-o", "--output", required=True, metavar="DIR", help="where to write")
    apply.add_argument("-f", "--format", help="format to write (default: the source's)")
    apply.add_argument("--except", dest="except_file", metavar="FILE", help="items never to drop, id@subset a line")
    apply.add_argument("--save-media", action="store_true", help="copy the pictures too")
    diff = actions.add_parser("diff", help="items that two files decide differently")
    diff.add_argument("before")
    diff.add_argument("after")
    diff.add_argument("--json", action="store_true", help="print one JSON object for each, for programs")


def run(args: argparse.Namespace) -> int:
    """Apply (0), or compare: 0 where both files decide alike, 1 where they differ."""
    return _apply(args) if args.action == "apply" else _diff(args)


def _apply(args: argparse.Namespace) -> int:
    from datumaro_clip.host.apply import replay

    log = read_decisions(args.file)
    if args.except_file:
        refused = read_exceptions(args.except_file)
        tell_unknown_exceptions(refused, (one.key for one in log.decisions))
        kept = except_items(log.decisions, refused)
        log = DecisionLog(log.transform, log.options, log.space, tuple(kept), log.notes)
    count, lost = replay(log, args.dataset, Path(args.output), args.format, save_media=args.save_media)
    lost.tell()
    say(f"{count} items written to {args.output}{lost.in_short}")
    return 0


def _diff(args: argparse.Namespace) -> int:
    before, after = (_by_subject(read_decisions(path)) for path in (args.before, args.after))
    changed = [(key, before.get(key), after.get(key)) for key in sorted({*before, *after}, key=str)]
    changed = [(key, one, two) for key, one, two in changed if _said(one) != _said(two)]
    if args.json:
        for (name, annotation), one, two in changed:
            sides = {"before": one and as_record(one), "after": two and as_record(two)}
            say_json({"item": name, "annotation": annotation, **sides})
        return 1 if changed else 0
    for (name, annotation), one, two in changed[:_SHOWN]:
        part = "" if annotation is None else f" annotation {annotation}"
        say(f"{name}{part}: {_said(one)} -> {_said(two)}")
    if len(changed) > _SHOWN:
        say(f"... and {len(changed) - _SHOWN} more")
    totals = Counter(f"{_brief(one)} -> {_brief(two)}" for _, one, two in changed)
    for change, count in sorted(totals.items()):
        say_aside(f"{count:6d}  {change}")
    return 1 if changed else 0


def _by_subject(log: DecisionLog) -> dict[tuple[str, int | None], Decision]:
    return {(str(one.key), one.annotation): one for one in log.decisions}


def _said(decision: Decision | None) -> str:
    """What becomes of a subject, and why: what two runs may differ in."""
    if decision is None:
        return "absent"
    told = (_brief(decision), decision.label, decision.subset, decision.representative)
    return " ".join(str(part) for part in told if part)


def _brief(decision: Decision | None) -> str:
    return "absent" if decision is None else f"{decision.action} {decision.reason}".strip()
