"""``datum-clip decisions``: let a tool make decisions, apply them to a dataset, or compare two files of them."""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datumaro_clip.cli.parsing import Parser, add_ray
from datumaro_clip.cli.printing import say, say_aside, say_json
from datumaro_clip.curate.decisions import (
    Decision,
    as_record,
    except_items,
    read_decisions,
    read_exceptions,
    tell_unknown_exceptions,
    write_decisions,
)
from datumaro_clip.curate.tools import MODULES

_SHOWN = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``make``, ``apply`` and ``diff``."""
    # A tool's own option is called action.
    actions = parser.add_subparsers(dest="step", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="run a tool on a dataset, on Ray if you like, and write its decisions")
    tools = make.add_subparsers(dest="tool", metavar="TOOL", required=True, parser_class=_ToolParser)
    for name in MODULES:
        tools.add_parser(name, help=f"datum-clip help {name} says what it does", description=f"run {name}")
    apply = actions.add_parser("apply", help="apply a decisions file to a dataset, without a model")
    apply.add_argument("file", help="decisions.jsonl, as --report writes it")
    apply.add_argument("dataset", help="PATH[:FORMAT]")
    apply.add_argument("-o", "--output", required=True, metavar="DIR", help="a new or empty directory")
    apply.add_argument("-f", "--format", help="format to write (default: the source's)")
    apply.add_argument("--except", dest="except_file", metavar="FILE", help="items never to drop, id@subset a line")
    apply.add_argument("--save-media", action="store_true", help="copy the pictures too")
    diff = actions.add_parser("diff", help="compare two decisions files")
    diff.add_argument("before")
    diff.add_argument("after")
    diff.add_argument("--json", action="store_true", help="print one JSON object per difference")


def run(args: argparse.Namespace) -> int:
    """Run the action; ``diff`` returns 1 if the files differ."""
    return {"make": _make, "apply": _apply, "diff": _diff}[args.step](args)


class _ToolParser(Parser):
    """The parser of a tool's options, which it declares when it parses, since tools are slow to import."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Declare the options, once, and parse."""
        if not any(action.dest == "dataset" for action in self._actions):
            from datumaro_clip.curate.run import options_of
            from datumaro_clip.curate.tools import tool_named
            from datumaro_clip.host.configured import add_configured_options

            self.add_argument("dataset", metavar="DATASET[:FORMAT]", help="dataset or store to decide about")
            self.add_argument("-o", "--output", required=True, metavar="FILE", help="decisions file to write")
            add_ray(self)
            name = self.prog.split()[-1]
            add_configured_options(self, options_of(tool_named(name)), name)
        return super().parse_known_args(args, namespace)


def _make(args: argparse.Namespace) -> int:
    from datumaro_clip.curate.run import options_of, read_values
    from datumaro_clip.curate.tools import tool_named
    from datumaro_clip.functions.curation import decide_and_report
    from datumaro_clip.host.items import label_names, neutral
    from datumaro_clip.host.sources import open_dataset

    tool = tool_named(args.tool)
    names = [option.python_name for option in options_of(tool)]
    values = read_values(tool, {name: getattr(args, name) for name in names})
    with ExitStack() as stack:
        crew: list[Any] = []  # Threads of this process, if nobody else is named.
        if args.ray is not None:
            from datumaro_clip.distributed.ray import cluster
            from datumaro_clip.distributed.ray_pool import RayPool

            stack.enter_context(cluster(args.ray or None))
            crew.append(partial(nullcontext, RayPool(args.workers)))
        dataset = open_dataset(args.dataset)
        classes = label_names(dataset.categories())
        made = decide_and_report(tool, values, [neutral(item, classes) for item in dataset], classes, *crew)
    write_decisions(args.output, made)
    say(f"{args.output}: {', '.join(f'{name} {count}' for name, count in sorted(made.counts().items()))}")
    return 0


def _apply(args: argparse.Namespace) -> int:
    from datumaro_clip.host.apply import replay
    from datumaro_clip.host.unfinished import filling

    log = read_decisions(args.file)
    if args.except_file:
        refused = read_exceptions(args.except_file)
        tell_unknown_exceptions(refused, (one.key for one in log.decisions))
        log = replace(log, decisions=tuple(except_items(log.decisions, refused)))
    with filling(Path(args.output), vars(args)):
        count, lost = replay(log, args.dataset, Path(args.output), args.format, save_media=args.save_media)
    lost.tell()
    say(f"{count} items written to {args.output}{lost.in_short}")
    return 0


def _diff(args: argparse.Namespace) -> int:
    before, after = (
        {(str(one.key), one.annotation): one for one in read_decisions(path).decisions}
        for path in (args.before, args.after)
    )
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


def _said(decision: Decision | None) -> str:
    """Return the parts of a decision that are compared, as text."""
    if decision is None:
        return "absent"
    told = (_brief(decision), decision.label, decision.subset, decision.representative)
    return " ".join(str(part) for part in told if part)


def _brief(decision: Decision | None) -> str:
    return "absent" if decision is None else f"{decision.action} {decision.reason}".strip()
