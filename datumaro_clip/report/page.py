"""The page: one file of HTML with its style, its script and its pictures inside, which opens without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from datumaro_clip.curate.decisions import Decision, DecisionLog, Measure, as_header, as_record, write_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.report import histogram
from datumaro_clip.report.origin import Origin
from datumaro_clip.report.plan import Plan, Subject, places, plan_report, subject_of
from datumaro_clip.report.script import join_modules
from datumaro_clip.report.thumbnails import thumbnails_of
from datumaro_clip.system.files import write_text
from datumaro_clip.vectors import ItemKey

_STATIC = Path(__file__).parent / "static"
# Findings beyond these are shown when asked for.
_NOTES = 6


def write_report(
    directory: str | os.PathLike[str],
    log: DecisionLog,
    items: Sequence[Item],
    *,
    limit: int | None = None,
    origin: Origin | None = None,
) -> None:
    """Write ``report.html`` and ``decisions.jsonl``.

    Parameters
    ----------
    directory : path
        Made where it does not exist.
    log : DecisionLog
    items : sequence of Item
        Those that were decided about, for their pictures, labels and captions.
    limit : int, optional
        Decisions that the page shows, at most; the file has all.
    origin : Origin, optional
        Where the decisions come from; what this process and the items tell, where omitted.
    """
    write_decisions(Path(directory) / "decisions.jsonl", log)
    plan = plan_report(log, limit)
    pictures, failures = thumbnails_of(items, plan.pictures())
    page = render(plan, items, pictures, failures, origin or Origin.of(items))
    # The bytes of a name that is no UTF-8 are shown escaped, in text and in JSON.
    write_text(Path(directory) / "report.html", page.encode(errors="backslashreplace").decode())


def render(
    plan: Plan,
    items: Iterable[Item],
    pictures: Mapping[Subject, bytes],
    failures: Mapping[Subject, str],
    origin: Origin,
) -> str:
    """The page as HTML."""
    style, script = style_of("page"), _script()
    # Data is no script: the policy lets one script run, by its hash, and no address be asked.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    headline = _headline(plan.log)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(headline)} · datumaro-clip</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(_blocks(plan, headline, origin))
        + '\n</main>\n<div id="enlarged"></div>\n'
        + f'<script type="application/json" id="data">{_data(plan, items, pictures, failures)}</script>\n'
        + f"<script>{script}</script>\n</body>\n</html>\n"
    )


@cache
def style_of(page: str) -> str:
    """The style sheet of a page, after the colours that all pages have."""
    return "".join((_STATIC / name).read_text(encoding="utf-8") for name in ("tokens.css", f"{page}.css"))


@cache
def _script() -> str:
    return join_modules(_STATIC / "js" / "main.js")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _headline(log: DecisionLog) -> str:
    """What was asked for, where something was; else the tool's name."""
    asked = {name: log.options.get(name) for name in ("query", "image", "item")}
    if log.transform not in ("search", "clip_search") or not any(asked.values()):
        return log.transform
    if asked["query"]:
        return f"“{asked['query']}”"
    return f"Pictures like {asked['image'] or asked['item']}"


def _blocks(plan: Plan, headline: str, origin: Origin) -> Iterator[str]:
    yield _header(plan, headline, origin)
    yield '<section id="summary" aria-label="Summary"></section>'
    if plan.log.notes:
        yield _notes(plan.log.notes)
    kept, others = ("chosen", "not chosen") if plan.selects else ("passed", "found")
    drawn = [(each, svg) for each in plan.log.measures if (svg := histogram.draw(each, kept, others))]
    if drawn:
        told = "".join(_figure(each, svg, kept, others) for each, svg in drawn)
        yield f'<section class="scores {"selecting" if plan.selects else ""}" aria-label="Scores">{told}</section>'
    yield '<section id="work" aria-label="Decisions"><noscript>The pictures need JavaScript; decisions.jsonl, beside '
    yield "this page, holds the same decisions.</noscript></section>"
    yield _options(plan.log)


def _header(plan: Plan, headline: str, origin: Origin) -> str:
    log = plan.log
    model = str(log.options.get("model")) if log.space and log.options.get("model") else "none was needed"
    facts = {
        "Tool": "" if headline == log.transform else log.transform,
        "Dataset": origin.dataset,
        "Made": f"{origin.made:%d %B %Y, %H:%M %Z}".strip().removeprefix("0"),
        "Model": model,
        "Vector space": (log.space or "")[:19],
    }
    told = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value)
    command = (
        f'<p class="command"><code id="command">{escape(origin.command)}</code>'
        '<button type="button" id="copy">Copy</button></p>'
        if origin.command
        else ""
    )
    items = len({(one.key, one.occurrence) for one in log.decisions})
    nothing = plan.found_nothing
    lead = f'<p class="lead">{escape(nothing[0].upper() + nothing[1:])} in {items:,} items.</p>' if nothing else ""
    return f"<header><h1>{escape(headline)}</h1>{lead}<dl>{told}</dl>{command}</header>"


def _notes(notes: Sequence[str]) -> str:
    told = [f"<li>{escape(note)}</li>" for note in notes]
    more = ""
    if rest := told[_NOTES:]:
        more = f"<details><summary>{len(rest):,} more</summary><ul>{''.join(rest)}</ul></details>"
    return f'<section class="notes"><h2>Findings</h2><ul>{"".join(told[:_NOTES])}</ul>{more}</section>'


def _figure(shown: Measure, svg: str, kept: str, others: str) -> str:
    parts = (("kept", kept, shown.kept), ("others", others, shown.others))
    legend = "".join(f'<span><i class="{kind}"></i>{name} {len(of):,}</span>' for kind, name, of in parts if of)
    return f'<figure>{svg}<figcaption class="legend">{legend}</figcaption></figure>'


def _options(log: DecisionLog) -> str:
    told = escape(json.dumps(dict(log.options), indent=2, ensure_ascii=False, sort_keys=True))
    return f'<details class="options"><summary>Options</summary><pre tabindex="0">{told}</pre></details>'


def _data(plan: Plan, items: Iterable[Item], pictures: Mapping[Subject, bytes], failures: Mapping[Subject, str]) -> str:
    """What the script works on, as JSON that no parser of HTML takes for markup."""
    numbers: dict[bytes, int] = {}
    number = {subject: numbers.setdefault(picture, len(numbers)) for subject, picture in pictures.items()}
    known = _by_subject(items)
    cards = [
        _card(one, order, known.get((one.key, one.occurrence or 0)), number, failures)
        for one, order in zip(plan.decisions, plan.shown, strict=True)
    ]
    header = as_header(plan.log)
    told = {
        "header": header,
        "total": len(plan.log.decisions),
        "leftOut": plan.left_out,
        "selects": plan.selects,
        "judged": plan.log.transform != "search",
        "name": hashlib.sha256(json.dumps([header, [card["record"] for card in cards]]).encode()).hexdigest()[:32],
        "cards": cards,
        "pictures": [base64.b64encode(picture).decode("ascii") for picture in numbers],
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _by_subject(items: Iterable[Item]) -> dict[tuple[ItemKey, int], Item]:
    seen: Counter[ItemKey] = Counter()
    found = {}
    for item in items:
        found[item.key, seen[item.key]] = item
        seen[item.key] += 1
    return found


def _card(
    one: Decision, order: int, item: Item | None, number: Mapping[Subject, int], failures: Mapping[Subject, str]
) -> dict[str, Any]:
    """A decision with what the page shows beside it: numbers of pictures, labels, captions."""
    labels, captions = [], []
    if item is not None:
        of_part = [label for label in item.labels if one.annotation in (None, label.annotation)]
        labels = list(dict.fromkeys(str(label.name) for label in of_part))
        captions = [caption.text for caption in item.captions if one.annotation in (None, caption.annotation)]
    told = {
        "record": as_record(one),
        "order": order,
        "picture": number.get(subject_of(one)),
        "failure": failures.get(subject_of(one)),
        "places": [number[place] for place in places(one) if place in number],
        "labels": labels,
        "captions": captions,
    }
    return {name: value for name, value in told.items() if value not in (None, [])}
