"""The page of an evaluation: a sentence for each curated set, the curve, the figures, and the test set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from datumaro_clip.evaluate.evaluation import Curated, Evaluation, TrainingSet, signed
from datumaro_clip.evaluate.scoring import Estimate
from datumaro_clip.report.charts import Line, draw_curves
from datumaro_clip.report.page import html_page, style_of, write_page
from datumaro_clip.system.files import write_text
from datumaro_clip.vectors import ItemKey

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# Colours of lines in the style sheet; a sixth curated set gets the first one again.
_COLOURS = 5


def write_evaluation(directory: str | os.PathLike[str], found: Evaluation, test: Sequence[ItemKey]) -> None:
    """Write ``report.html``, ``evaluation.json`` and ``test.txt``, the items of the test set.

    Parameters
    ----------
    directory : path
        Made where it does not exist.
    found : Evaluation
    test : sequence of ItemKey
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "test.txt", "".join(f"{key}\n" for key in test))
    write_text(folder / "evaluation.json", json.dumps(found.to_mapping(), indent=1) + "\n")
    style = f"\n{style_of('evaluation')}"
    page = html_page(f"{found.raw.name} · does curation help?", _POLICY, style, _blocks(found))
    write_page(folder / "report.html", page)


def _blocks(found: Evaluation) -> Iterator[str]:
    test = found.test
    about = f"{escape(found.raw.name)} · {test.items:,} test items · {len(found.classes)} classes"
    yield f"<header><h1>Does curation help?</h1><p>{about}</p></header>"
    for number, one in enumerate(found.curated):
        yield _verdict(found, one, _colour(number))
    yield f"<section><h2>Accuracy over the number of examples</h2>{_curves(found)}</section>"
    yield f"<section><h2>Trained on the whole set</h2>{_sets(found)}</section>"
    yield f"<section><h2>Differences</h2>{_differences(found)}</section>"
    yield f"<section><h2>By class</h2>{_classes(found)}</section>"
    yield f"<section><h2>What was measured</h2>{_measured(found)}</section>"


def _colour(number: int) -> str:
    return f"curated{number % _COLOURS + 1}"


def _verdict(found: Evaluation, one: Curated, colour: str) -> str:
    more = "".join(f"<p>{escape(each)}</p>" for each in found.findings(one))
    verdict = one.linear.verdict
    mark = f'<span class="verdict {verdict.replace(" ", "-")}">{escape(verdict)}</span>'
    return f'<section class="answer {colour}">{mark}<p class="said">{escape(found.sentence(one))}</p>{more}</section>'


def _curves(found: Evaluation) -> str:
    """Draw the curves; all random parts of the raw set form one line."""
    by_chance = {point.samples: point for one in found.curated for point in one.random.curve}
    by_chance |= {point.samples: point for point in found.raw.curve}
    lines = [Line("raw, at random", "raw", [by_chance[samples] for samples in sorted(by_chance)])]
    lines += [Line(one.training.name, _colour(n), one.training.curve) for n, one in enumerate(found.curated)]
    legend = "".join(f'<span><i class="{line.kind}"></i>{escape(line.name)}</span>' for line in lines)
    note = (
        "Bands are 95 % intervals of each accuracy; differences on the same test items are surer than they look here."
    )
    return f'<p class="legend">{legend}</p>{draw_curves(lines)}<p class="note">{note}</p>'


def _sets(found: Evaluation) -> str:
    rows = [_set(found.raw, "raw")]
    for number, one in enumerate(found.curated):
        rows += [_set(one.training, _colour(number)), _set(one.random, "raw")]
    return _table(("", "examples", "accuracy", "balanced"), rows)


def _set(each: TrainingSet, kind: str) -> tuple[str, ...]:
    last = each.curve[-1]
    name = f'<i class="{kind}"></i>{escape(each.name)}'
    return name, f"{last.samples:,}", _estimate(last.accuracy), _estimate(last.balanced)


def _differences(found: Evaluation) -> str:
    rows = []
    for one in found.curated:
        for beside, linear, check in (
            ("raw", one.linear.against_raw, one.check.against_raw),
            ("random, as many", one.linear.against_random, one.check.against_random),
        ):
            rows.append((f"{escape(one.training.name)} − {beside}", *map(_signed, linear), _signed(check.accuracy)))
    return _table(("", "accuracy", "balanced", "accuracy, non-linear probe"), rows)


def _classes(found: Evaluation) -> str:
    """Write the table of classes; those where a curated set differs most from random come first."""

    def gain(n: int) -> float:
        gains = [(one.training.by_class[n] or 0) - (one.random.by_class[n] or 0) for one in found.curated]
        return max(gains, key=abs)

    sets = [found.raw, *(each for one in found.curated for each in (one.training, one.random))]
    rows = [
        (escape(found.classes[n]), f"{found.test.by_class[n]:,}", *(_share(each.by_class[n]) for each in sets))
        for n in sorted(range(len(found.classes)), key=lambda n: -abs(gain(n)))
    ]
    return _table(("", "test items", *(escape(each.name) for each in sets)), rows)


def _measured(found: Evaluation) -> str:
    test = found.test
    facts = {
        "Test set": f"{test.items:,} items in {test.groups:,} groups of copies, by --test {test.source}",
        "Its digest": test.digest,
        "Vectors": found.space or "as the items have them",
    }
    for each in (found.raw, *(one.training for one in found.curated)):
        left = "; ".join(f"{reason}: {count:,}" for reason, count in each.left_out.items())
        facts[each.name] = f"{each.source}{f' · left out: {left}' if left else ''}"
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    options = escape(json.dumps(dict(found.options), indent=1, ensure_ascii=False))
    return f"<dl>{terms}</dl><details><summary>Options</summary><pre>{options}</pre></details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{each}</td>' for each in row[1:])}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} <small>{estimate.low:.3f} to {estimate.high:.3f}</small>"


def _signed(estimate: Estimate) -> str:
    value, low, high = estimate
    side = "up" if low > 0 else "down" if high < 0 else "even"
    return f'<b class="{side}">{signed(value)}</b> <small>{signed(low)} to {signed(high)}</small>'


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
