"""The page of a run: one HTML file with its style, its script and its pictures, which opens without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from datumaro_clip.curate.decisions import Decision, DecisionLog, Measure, as_header, as_record, write_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.report.charts import draw_histogram
from datumaro_clip.report.plan import Plan, Subject, numbered, places, plan_report, subject_of
from datumaro_clip.report.thumbnails import thumbnails_of
from datumaro_clip.system.files import write_text

_STATIC = Path(__file__).parent / "static"
# Findings that are shown at once; the others are folded.
_NOTES = 6
_PROGRAMS = ("datum", "datum-clip")
_MODULES = {"datumaro": "datum", "datumaro_clip": "datum-clip", "cli": "datum-clip"}
# Imports and exports of a JavaScript module.
_IMPORT = re.compile(r'^import (?:\* as (\w+)|\{([^}]*)\}) from "([^"]+)";\n', re.M)
_DECLARED = re.compile(r"^export (?=(?:async )?function\*? (\w+)|const (\w+)|class (\w+))", re.M)
_LISTED = re.compile(r"export\s*\{([^}]*)\};?\s*$")


class Origin(NamedTuple):
    """The origin of decisions.

    Attributes
    ----------
    command : str
        The command line, for a POSIX shell; empty where another program made them.
    dataset : str
        The folder of the pictures, relative to the current directory if it is below; empty for pictures without files.
    made : datetime
        In local time.
    """

    command: str
    dataset: str
    made: datetime

    @classmethod
    def of(cls, items: Iterable[Item]) -> Origin:
        """Find the origin from this process and the items."""
        paths = {item.media for item in items if item.media and "://" not in item.media}
        try:
            folder = os.path.commonpath(paths) if paths else ""
        except ValueError:  # some absolute, some not; several drives
            folder = ""
        is_below = bool(folder) and Path(folder).is_relative_to(Path.cwd())
        return cls(command_line(sys.argv), os.path.relpath(folder) if is_below else folder, datetime.now().astimezone())


def command_line(arguments: list[str]) -> str:
    """Quote the command line of ``datum`` or ``datum-clip``; return an empty text for other programs."""
    program = Path(arguments[0]) if arguments else Path()
    name = _MODULES.get(program.parent.name, "") if program.name == "__main__.py" else program.stem
    return shlex.join([name, *arguments[1:]]) if name in _PROGRAMS else ""


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
        The items of the decisions, for their pictures, labels and captions.
    limit : int, optional
        Most decisions that the page shows; the file has all.
    origin : Origin, optional
        That of this process and the items where omitted.
    """
    write_decisions(Path(directory) / "decisions.jsonl", log)
    plan = plan_report(log, limit)
    pictures, failures = thumbnails_of(items, plan.pictures())
    page = render(plan, items, pictures, failures, origin or Origin.of(items))
    write_page(Path(directory) / "report.html", page)


def render(
    plan: Plan,
    items: Iterable[Item],
    pictures: Mapping[Subject, bytes],
    failures: Mapping[Subject, str],
    origin: Origin,
) -> str:
    """Return the page as HTML."""
    style, script = style_of("page"), _script()
    # The policy allows one script, by its hash, and no request.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    headline = _headline(plan.log)
    more = (
        '<div id="enlarged"></div>\n'
        f'<script type="application/json" id="data">{_data(plan, items, pictures, failures)}</script>\n'
        f"<script>{script}</script>\n"
    )
    return html_page(f"{headline} · datumaro-clip", policy, style, _blocks(plan, headline, origin), more)


def html_page(title: str, policy: str, style: str, blocks: Iterable[str], more: str = "") -> str:
    """Return an HTML page; ``policy`` is its Content-Security-Policy, and ``more`` follows the blocks."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(blocks)
        + f"\n</main>\n{more}</body>\n</html>\n"
    )


def write_page(path: Path, page: str) -> None:
    """Write a page; bytes of names that are no UTF-8 are escaped, in text and in JSON."""
    write_text(path, page.encode(errors="backslashreplace").decode())


@cache
def style_of(page: str) -> str:
    """Return the style sheet of a page, after the colours of all pages."""
    return "".join((_STATIC / name).read_text(encoding="utf-8") for name in ("tokens.css", f"{page}.css"))


@cache
def _script() -> str:
    return join_modules(_STATIC / "js" / "main.js")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _headline(log: DecisionLog) -> str:
    """Return the query of a search, else the tool's name."""
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
    drawn = [(each, svg) for each in plan.log.measures if (svg := draw_histogram(each, kept, others))]
    if drawn:
        figures = "".join(_figure(each, svg, kept, others) for each, svg in drawn)
        yield f'<section class="scores {"selecting" if plan.selects else ""}" aria-label="Scores">{figures}</section>'
    yield '<section id="work" aria-label="Decisions"><noscript>The pictures need JavaScript; decisions.jsonl, beside '
    yield "this page, holds the same decisions.</noscript></section>"
    options = escape(json.dumps(dict(plan.log.options), indent=2, ensure_ascii=False, sort_keys=True))
    yield f'<details class="options"><summary>Options</summary><pre tabindex="0">{options}</pre></details>'


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
    terms = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value)
    command = (
        f'<p class="command"><code id="command">{escape(origin.command)}</code>'
        '<button type="button" id="copy">Copy</button></p>'
        if origin.command
        else ""
    )
    items = len({(one.key, one.occurrence) for one in log.decisions})
    nothing = plan.found_nothing
    lead = f'<p class="lead">{escape(nothing[0].upper() + nothing[1:])} in {items:,} items.</p>' if nothing else ""
    return f"<header><h1>{escape(headline)}</h1>{lead}<dl>{terms}</dl>{command}</header>"


def _notes(notes: Sequence[str]) -> str:
    entries = [f"<li>{escape(note)}</li>" for note in notes]
    more = ""
    if rest := entries[_NOTES:]:
        more = f"<details><summary>{len(rest):,} more</summary><ul>{''.join(rest)}</ul></details>"
    return f'<section class="notes"><h2>Findings</h2><ul>{"".join(entries[:_NOTES])}</ul>{more}</section>'


def _figure(shown: Measure, svg: str, kept: str, others: str) -> str:
    parts = (("kept", kept, shown.kept), ("others", others, shown.others))
    legend = "".join(f'<span><i class="{kind}"></i>{name} {len(of):,}</span>' for kind, name, of in parts if of)
    return f'<figure>{svg}<figcaption class="legend">{legend}</figcaption></figure>'


def _data(plan: Plan, items: Iterable[Item], pictures: Mapping[Subject, bytes], failures: Mapping[Subject, str]) -> str:
    """Return the data of the script, as JSON that an HTML parser does not take for markup."""
    numbers: dict[bytes, int] = {}
    number = {subject: numbers.setdefault(picture, len(numbers)) for subject, picture in pictures.items()}
    known = dict(numbered(items))
    cards = [
        _card(one, order, known.get((one.key, one.occurrence or 0)), number, failures)
        for one, order in zip(plan.decisions, plan.shown, strict=True)
    ]
    header = as_header(plan.log)
    data = {
        "header": header,
        "total": len(plan.log.decisions),
        "leftOut": plan.left_out,
        "selects": plan.selects,
        "judged": plan.log.transform != "search",
        "name": hashlib.sha256(json.dumps([header, [card["record"] for card in cards]]).encode()).hexdigest()[:32],
        "cards": cards,
        "pictures": [base64.b64encode(picture).decode("ascii") for picture in numbers],
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _card(
    one: Decision, order: int, item: Item | None, number: Mapping[Subject, int], failures: Mapping[Subject, str]
) -> dict[str, Any]:
    """Return a decision with what the page shows beside it: numbers of pictures, labels, captions."""
    labels, captions = [], []
    if item is not None:
        of_part = [label for label in item.labels if one.annotation in (None, label.annotation)]
        labels = list(dict.fromkeys(str(label.name) for label in of_part))
        captions = [caption.text for caption in item.captions if one.annotation in (None, caption.annotation)]
    card = {
        "record": as_record(one),
        "order": order,
        "picture": number.get(subject_of(one)),
        "failure": failures.get(subject_of(one)),
        "places": [number[place] for place in places(one) if place in number],
        "labels": labels,
        "captions": captions,
    }
    return {name: value for name, value in card.items() if value not in (None, [])}


def join_modules(entry: Path) -> str:
    """Join a module and all that it imports into one script, since a page opened from a disk cannot import any.

    Parameters
    ----------
    entry : Path
        The modules mark exports where they are defined, or list them at the end; they import names or whole modules
        from relative paths, and do not change exports later.

    Returns
    -------
    str
        The script; each module is a function, once, after those that it imports.
    """
    numbers: dict[Path, int] = {}
    parts: list[str] = []

    def add(path: Path) -> int:
        if path not in numbers:
            source = _IMPORT.sub(
                lambda found: _imported(found, add((path.parent / found[3]).resolve())), path.read_text("utf-8")
            )
            numbers[path] = len(numbers)
            parts.append(f"const m{numbers[path]} = (() => {{\n{_returning(source)}\n}})();\n")
        return numbers[path]

    add(entry.resolve())
    return '"use strict";\n' + "".join(parts)


def _imported(found: re.Match[str], number: int) -> str:
    whole, names, _ = found.groups()
    return f"const {whole or '{' + names.replace(' as ', ': ') + '}'} = m{number};\n"


def _returning(source: str) -> str:
    """Make the body of a function that runs a module and returns its exports by name."""
    names = [next(filter(None, found.groups())) for found in _DECLARED.finditer(source)]
    source = _DECLARED.sub("", source)
    if listed := _LISTED.search(source):
        pairs = [each.strip().partition(" as ") for each in listed[1].split(",") if each.strip()]
        names += [f"{outer or inner}: {inner}" for inner, _, outer in pairs]
        source = source[: listed.start()]
    return f"{source.rstrip()}\nreturn {{ {', '.join(names)} }};"
