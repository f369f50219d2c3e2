"""Normalize captions, labels and attributes of several formats by rules, and report each change."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from datumaro_clip.curate.mapping import TYPES, AttributeRule

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")

#: Rules that change the text of a caption, in the order in which they apply.
TEXT_RULES: Mapping[str, Callable[[str], str]] = {
    "unescape": html.unescape,
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "spaces": lambda text: re.sub(r"\s+", " ", text).strip(),
    "quotes": lambda text: text.translate(_QUOTES),
}
CLEAN = ("nfc", "unescape", "spaces", "empty", "repeated")
#: All rules for captions; ``empty`` and ``repeated`` remove some.
CAPTION_RULES = ("clean", *TEXT_RULES, "empty", "repeated")
LABEL_CASES: Mapping[str, Callable[[str], str]] = {
    "keep": lambda name: name,
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
}


class Change(NamedTuple):
    """A change: what was changed, the rule, and the text before and after (None: removed)."""

    kind: str
    rule: str
    before: str
    after: str | None


def clean_captions(texts: Sequence[str], rules: Sequence[str]) -> tuple[list[str | None], list[Change]]:
    """Clean the captions of one item; return them, None for removed ones, and each change.

    Parameters
    ----------
    texts : sequence of str
    rules : sequence of str
        Of ``CAPTION_RULES``.
    """
    wanted = {*rules, *(CLEAN if "clean" in rules else ())}
    kept: list[str | None] = []
    changes = []
    for text in texts:
        now = text
        for name, rule in TEXT_RULES.items():
            if name in wanted and (new := rule(now)) != now:
                changes.append(Change("caption", name, now, new))
                now = new
        faults = {"empty": not now.strip(), "repeated": now in kept}
        removed = next((name for name, is_found in faults.items() if is_found and name in wanted), None)
        if removed is not None:
            changes.append(Change("caption", removed, now, None))
        kept.append(None if removed else now)
    return kept, changes


def alike_attributes(
    attributes: Mapping[str, Any], rules: Sequence[AttributeRule]
) -> tuple[dict[str, Any], list[Change], list[str]]:
    """Rename and convert attributes; return them, each change, and a sentence for each problem.

    An attribute whose new name is already taken stays as it is, which is a problem.
    """
    renamed = dict(attributes)
    changes, problems = [], []
    for rule in rules:
        if rule.name not in renamed:
            continue
        value = renamed[rule.name]
        if rule.target != rule.name and rule.target in renamed:
            problems.append(f"{rule.name}: there is a {rule.target} already")
            continue
        new, is_typed = _typed(value, rule.type)
        if not is_typed:
            problems.append(f"{rule.name}: {value!r} is no {rule.type}")
        if rule.target != rule.name:
            changes.append(Change("attribute", "name", rule.name, rule.target))
            del renamed[rule.name]
        if is_typed and (type(new), new) != (type(value), value):
            changes.append(Change("attribute", f"type {rule.type}", repr(value), repr(new)))
        renamed[rule.target] = new
    return renamed, changes, problems


def _typed(value: Any, kind: str | None) -> tuple[Any, bool]:
    """Convert a value to a type; return it, or the value as it was, and whether it could be converted."""
    if kind is None or value is None:
        return value, True
    try:
        if kind == "bool":
            text = str(value).strip().lower()
            return (text in _TRUE, True) if text in (*_TRUE, *_FALSE) else (value, False)
        new = TYPES[kind](value)
        is_whole = kind != "int" or not isinstance(value, float) or value == new
        return (new, True) if is_whole else (value, False)
    except (TypeError, ValueError, OverflowError):
        return value, False
