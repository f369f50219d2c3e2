"""Run a tool on items: check the options, get the vectors, turn verdicts into decisions."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datumaro_clip.curate.decisions import (
    Decision,
    DecisionLog,
    Scalar,
    except_items,
    read_exceptions,
    tell_unknown_exceptions,
)
from datumaro_clip.curate.embedder import embed_columns
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.near.threads import Crew, workers
from datumaro_clip.curate.object_items import ObjectItems
from datumaro_clip.curate.objects import TOOL_OPTIONS, CropOptions
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.tools import Tool
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS, EmbeddingOptions
from datumaro_clip.errors import OptionError, with_cure
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.options import File, Option, Several, Text, Values, Whole, read_options
from datumaro_clip.system.notices import notice
from datumaro_clip.system.terminal import is_notebook

log = logging.getLogger(__name__)

#: Prefix of an ``--action`` that moves items; the name of the new subset follows.
MOVE = "subset:"
_FAILED = "failed_"
# Options that do not change decisions: where things are, and how fast a run is.
_NOT_RECORDED = ("report", "report_items", "except_file", "excepted", "cache", "batch_size", "streams", "threads")


def _action_problem(text: str) -> str | None:
    known = text in ("drop", "mark") or (text.startswith(MOVE) and len(text) > len(MOVE))
    return None if known else "must be drop, mark or subset:NAME"


_option = partial(Option, group="decisions")
#: The options that every curation tool has.
COMMON_OPTIONS = (
    _option(
        "action",
        Text(metavar="{drop,mark,subset:NAME}", check=_action_problem),
        "drop",
        "what to do with what is found",
    ),
    _option("subset", Several(of=Text(metavar="NAME")), (), "work on these subsets only"),
    _option("protect", Several(of=Text(metavar="NAME")), (), "never drop from these subsets"),
    _option("report", File(metavar="DIR"), None, "write report.html and decisions.jsonl there", changes="report"),
    _option(
        "report-items",
        Whole(at_least=1, metavar="N"),
        None,
        "most decisions to show in report.html",
        unset="all",
        changes="report",
    ),
    _option("except", File(), None, "file of items never to drop, a line id@subset each", keyword="except_file"),
)


def options_of(tool: Tool) -> tuple[Option, ...]:
    """Return all options of a tool: its own, the common ones, and those of vectors where it uses a model."""
    of_objects = TOOL_OPTIONS if tool.takes_objects else ()
    return (*tool.options, *of_objects, *COMMON_OPTIONS, *(VECTOR_OPTIONS if tool.uses_model else ()))


def read_values(tool: Tool, given: Mapping[str, Any]) -> Values:
    """Check the options given to a tool by keyword, and fill in the defaults; only ``except_file`` is read.

    Raises
    ------
    OptionError
        If there is no such option, a value cannot be used, or two contradict one another.
    DecisionError
        If ``except_file`` cannot be read.
    """
    given = {"except_file" if name == "except" else name: value for name, value in given.items()}
    values = read_options(options_of(tool), given, tool.name, log.warning)
    tool.check(values)
    values.excepted = read_exceptions(values.except_file) if values.except_file else frozenset()
    if values.report:
        try:  # Before the run, so that no decisions are lost.
            Path(values.report).mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OptionError(f"--report {with_cure(exc)}") from exc
    return values


def decide(
    tool: Tool, values: Values, items: Sequence[Item], classes: Sequence[str], crew: Crew = workers
) -> DecisionLog:
    """Let a tool decide about items.

    Parameters
    ----------
    tool : Tool
    values : Values
        As :func:`read_values` gives them.
    items : sequence of Item
        The whole dataset; items of other subsets than ``values.subset`` are left alone.
    classes : sequence of str
        The names of the classes that the dataset knows.
    crew : callable
        Makes the pool that reads and compares pictures; changes the time, never the decisions.

    Returns
    -------
    DecisionLog
        In the order of the items; protected items are kept.

    Raises
    ------
    OptionError
        If the dataset lacks a named subset, or two items share an id and a subset.
    """
    _require_subsets(values, items)
    if not items:
        notice(log, "%s: 0 items read: check the dataset's path and format", tool.name)
    tell_unknown_exceptions(values.excepted, (item.key for item in items))
    chosen = [item for item in items if not values.subset or item.key.subset in values.subset]
    if not tool.takes_repeated_keys(values):
        _require_own_keys(chosen)
    tool.check_items(values, chosen, classes)
    model = RunModel(EmbeddingOptions.among(vars(values)))
    wanted = tool.vectors(values) if tool.uses_model else "none"
    objects = None
    if tool.takes_objects and values.objects:
        needed = None if wanted == "none" else model
        objects = ObjectItems.of(chosen, CropOptions.among(vars(values)), needed)
        chosen = objects.items
    columns, failed = embed_columns(chosen, classes, wanted, model, frozenset(values.protect))
    verdicts = tool.function(replace(columns, crew=crew), values)
    decided = verdicts.decisions()
    if failed:
        dropped = [Decision(key, "drop", f"{_FAILED}{reason}") for key, reason in failed.items()]
        place = {item.key: n for n, item in enumerate(chosen)}
        decided = sorted([*decided, *dropped], key=lambda one: place[one.key])
    if objects is not None:
        decided = objects.as_annotations(decided, selects=tool.selects)
    shielded = [
        replace(one, action="keep", reason=f"protected_{one.reason}")
        if one.action == "drop" and one.key.subset in values.protect
        else one
        for one in decided
    ]
    # --on-error skip drops an item whatever --action says.
    decisions = [
        one if one.reason.startswith(_FAILED) else _acted(one, values.action)
        for one in except_items(shielded, values.excepted)
    ]
    made = DecisionLog(
        tool.name,
        _recorded(values),
        model.fingerprint,
        tuple(decisions),
        tuple(verdicts.notes),
        tuple(verdicts.measures),
        {item.key: item.fetch for item in items if item.picture is not None},
    )
    _log_summary(made)
    if tool.selects and items and not any(one.action == "keep" for one in decisions):
        notice(log, "%s: 0 of %d items are left; ask for less", tool.name, len(items))
    return made


def _require_subsets(values: Values, items: Iterable[Item]) -> None:
    """Refuse names of subsets that have no item."""
    present = {item.key.subset for item in items}
    if unknown := sorted({*values.subset, *values.protect} - present):
        raise OptionError(f"the dataset has no subset {', '.join(unknown)}; it has {', '.join(sorted(present))}")


def _require_own_keys(items: Iterable[Item]) -> None:
    """Refuse several items of one id and subset, since a decision names just these."""
    key, count = next(iter(Counter(item.key for item in items).most_common(1)), (None, 0))
    if count > 1:
        raise OptionError(
            f"{count} items are called {key}, and an item's id and subset must be its own: rename the others, or "
            "let clip_clean drop them first, as repeated_id"
        )


def _acted(decision: Decision, action: str) -> Decision:
    """Replace ``drop`` by the action that ``--action`` names."""
    if decision.action != "drop" or action == "drop":
        return decision
    marks: dict[str, Scalar] = {"clip_reason": decision.reason}
    if decision.score is not None:
        marks["clip_score"] = decision.score
    if decision.group is not None:
        marks["clip_group"] = decision.group
    if decision.representative is not None:
        marks["clip_representative"] = str(decision.representative)
    marks |= decision.attributes
    if action.startswith(MOVE) and decision.annotation is None:
        return replace(decision, action="move", subset=action[len(MOVE) :], attributes=marks)
    return replace(decision, action="mark", attributes=marks)


def _recorded(values: Values) -> dict[str, Any]:
    """Return the options that decided, as JSON values; an encoder by its model's name, a path as text."""
    recorded = {}
    for name, value in vars(values).items():
        if isinstance(value, Encoder):
            value = value.space.model
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        if name not in _NOT_RECORDED:
            recorded[name] = list(value) if isinstance(value, tuple) else value
    return recorded


def _log_summary(made: DecisionLog) -> None:
    """Log the counts of decisions, then the notes; in a notebook, print them too."""
    counts = repr(made).removeprefix("DecisionLog(").removesuffix(")")
    for line in (counts, *(f"{made.transform}: {note}" for note in made.notes)):
        log.info("%s", line)
        if is_notebook():
            print(line)
