"""``datum-clip evaluate``: measure whether curation helps a classifier."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from datumaro_clip.cli.parsing import add_json
from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS, EmbeddingOptions
from datumaro_clip.evaluate.evaluation import Evaluation
from datumaro_clip.evaluate.run import OPTIONS, evaluate
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.options import read_options
from datumaro_clip.report import write_evaluation

_log = logging.getLogger(__name__)
_ROW = "{:<28} {:>9} {:>9}  {:<16} {:>9}  {:<16}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("raw", metavar="RAW[:FORMAT]", help="the dataset before curation, or its store")
    parser.add_argument(
        "curated", nargs="+", metavar="CURATED", help="a curated dataset or store, or a decisions.jsonl about RAW"
    )
    add_configured_options(parser, (*OPTIONS, *VECTOR_OPTIONS))
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Compare the sets; print a table, and a sentence for each curated set."""
    given = vars(args)
    values = read_options(OPTIONS, {option.python_name: given[option.python_name] for option in OPTIONS}, "evaluate")
    from datumaro_clip.host.evaluation import open_compared

    raw, *curated = open_compared(args.raw, args.curated)
    found, test = evaluate(raw, curated, values, RunModel(EmbeddingOptions.among(given)))
    if args.report:
        write_evaluation(args.report, found, test)
        _log.info("Report: %s", Path(args.report) / "report.html")
    if args.json:
        say_json(found.to_mapping())
    else:
        _say(found)
    return 0


def _say(found: Evaluation) -> None:
    test = found.test
    say(f"{test.items} test items, {len(found.classes)} classes of --target {found.options['target']}")
    say(_ROW.format("trained on", "examples", "accuracy", "95 %", "balanced", "95 %").rstrip())
    random = [one.random for one in found.curated]
    for each in (found.raw, *(one.training for one in found.curated), *random):
        for point in each.curve:
            told = [f"{value:.3f} {low:.3f} – {high:.3f}".split(" ", 1) for value, low, high in point[2:]]
            say(_ROW.format(each.name[:28], f"{point.samples:,}", *told[0], *told[1]).rstrip())
    for one in found.curated:
        say()
        say(found.sentence(one))
        for finding in found.findings(one):
            say(finding)
