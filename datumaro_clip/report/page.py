"""The page: one file of HTML with its style and its thumbnails inside, which opens without a network."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib import resources
from pathlib import Path

from datumaro_clip.curate.decisions import Decision, write_decisions
from datumaro_clip.report import histogram
from datumaro_clip.report.plan import Group, Histogram, Report, Section, Subject, places
from datumaro_clip.system.files import write_text

Thumbnails = Mapping[Subject, bytes]

_VERBS = {"drop": "Dropped", "mark": "Marked", "move": "Moved", "label": "Labelled", "keep": "Kept"}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(directory: str | os.PathLike[str], report: Report, thumbnails: Thumbnails) -> None:
    """Write ``report.html`` and ``decisions.jsonl``.

    Parameters
    ----------
    directory : path
        Made where it does not exist.
    report : Report
    thumbnails : mapping
        JPEG bytes by what :meth:`Report.subjects` names; what has none gets an empty frame.
    """
    write_decisions(Path(directory) / "decisions.jsonl", report.log)
    page = render(report, thumbnails)
    # The bytes of a name that is no UTF-8 are shown escaped.
    write_text(Path(directory) / "report.html", page.encode(errors="backslashreplace").decode())


def render(report: Report, thumbnails: Thumbnails) -> str:
    """The page as HTML."""
    name = escape(report.log.transform)
    style = resources.files("datumaro_clip.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} · report</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(_blocks(report, thumbnails))
        + "\n</main>\n</body>\n</html>\n"
    )


def _blocks(report: Report, thumbnails: Thumbnails) -> Iterable[str]:
    yield _header(report)
    yield _tiles(report)
    if report.log.notes:
        yield _notes(report.log.notes)
    for each in report.histograms:
        yield f"<section><h2>Scores: {escape(_words(each.name))}</h2>{histogram.draw(each)}{_legend(each)}</section>"
    if report.groups:
        yield _groups(report, thumbnails)
    for section in report.sections:
        yield _section(section, thumbnails)
    yield _options(report)


def _header(report: Report) -> str:
    items = len({one.key for one in report.log.decisions})
    space = f" · vectors of <code>{escape(report.log.space[:19])}</code>" if report.log.space else ""
    return f"<header><h1>{escape(report.log.transform)}</h1><p>{items:,} items{space}</p></header>"


def _tiles(report: Report) -> str:
    """A number for each action, reason and subject."""
    return f'<ul class="counts">{"".join(_tile(*kind, count) for kind, count in report.counts.items())}</ul>'


def _tile(action: str, reason: str, subject: str, count: int) -> str:
    noun = subject if count != 1 else subject.removesuffix("s")
    why = f"<span>{escape(_words(reason)) or '&nbsp;'}</span>"
    return f'<li class="{escape(action)}"><b>{count:,}</b> {noun} {_VERBS[action].lower()}{why}</li>'


def _notes(notes: Iterable[str]) -> str:
    told = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<section><h2>Findings</h2><ul class="notes">{told}</ul></section>'


def _legend(shown: Histogram) -> str:
    kept = '<span><i class="kept"></i>kept</span>' if shown.kept else ""
    others = '<span><i class="others"></i>not kept</span>' if shown.others else ""
    return f'<p class="legend">{kept}{others}</p>'


def _groups(report: Report, thumbnails: Thumbnails) -> str:
    rows = "".join(_group(group, thumbnails) for group in report.groups)
    more = _more(report.groups_left_out, "groups")
    total = len(report.groups) + report.groups_left_out
    head = f"<h2>Duplicate groups <small>{total:,}</small></h2>"
    return f'<section>{head}<div class="groups">{rows}</div>{more}</section>'


def _group(group: Group, thumbnails: Thumbnails) -> str:
    keeper = _figure(group.keeper, thumbnails, "stays", "keeper")
    members = "".join(_figure(one, thumbnails, _words(one.reason.removesuffix("_duplicate"))) for one in group.members)
    size = "pair" if len(group.members) == 1 else "many"
    return f'<div class="group {size}">{keeper}{members}{_more(group.left_out, "copies")}</div>'


def _section(section: Section, thumbnails: Thumbnails) -> str:
    total = len(section.shown) + section.left_out
    title = f"{_VERBS[section.action]}: {_words(section.reason)}" if section.reason else _VERBS[section.action]
    figures = "".join(_figure(one, thumbnails) for one in section.shown)
    more = _more(section.left_out, "items")
    limit = "" if section.threshold is None else f" · threshold {section.threshold:.3g}"
    head = f"<h2>{escape(title)} <small>{total:,}{limit}</small></h2>"
    return f'<section>{head}<div class="grid">{figures}</div>{more}</section>'


def _figure(one: Decision, thumbnails: Thumbnails, badge: str = "", kind: str = "") -> str:
    found = thumbnails.get((one.key, one.annotation))
    name = escape(str(one.key))
    picture = _image(name, found) if found else "<div>no picture</div>"
    picture += _places(one, thumbnails)
    mark = f'<span class="badge">{escape(badge)}</span>' if badge else ""
    title = f'<b title="{name}">{escape(one.key.id)}</b>'
    said = "".join(f"<span>{escape(text)}</span>" for text in _sentences(one))
    quote = f"<q>{escape(one.text)}</q>" if one.text else ""
    return f'<figure class="{kind}">{picture}{mark}<figcaption>{title}{quote}{said}</figcaption></figure>'


def _places(one: Decision, thumbnails: Thumbnails) -> str:
    """Where the item's picture differs from another one's: both places enlarged, side by side."""
    both = [(str(place[0]), thumbnails[place]) for place in places(one) if place in thumbnails]
    shown = "".join(_image(f"the place in {escape(name)}", jpeg) for name, jpeg in both)
    return f'<div class="places">{shown}</div>' if shown else ""


def _sentences(one: Decision) -> Iterator[str]:
    """Where the item is, what was measured, and what that means."""
    yield one.key.subset if one.score is None else f"{one.key.subset} · score {one.score:.3g}"
    if one.detail or one.label:
        yield one.detail or f"label: {one.label}"


def _more(count: int, what: str) -> str:
    return f'<p class="more">and {count:,} more {what}, all in decisions.jsonl</p>' if count else ""


def _options(report: Report) -> str:
    told = escape(json.dumps(dict(report.log.options), indent=2, ensure_ascii=False, sort_keys=True))
    return f"<details><summary>Options</summary><pre>{told}</pre></details>"


def _image(name: str, jpeg: bytes) -> str:
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img loading="lazy" decoding="async" alt="{name}" src="data:image/jpeg;base64,{data}">'


def _words(name: str) -> str:
    return name.replace("_", " ")
