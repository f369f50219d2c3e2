"""Captions that say nothing: empty, garbled, too short."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

CAPTION_REASONS = (
    "empty_caption",
    "control_characters",
    "replacement_characters",
    "mojibake",
    "garbled_caption",
    "markup",
    "short_caption",
)

# Tags of HTML or XML, with attributes as names or name=value; and entities.
_ATTRIBUTE = r"""\s+[a-zA-Z_:][\w:.-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))?"""
_ENTITY = r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,5});"
_TAG = re.compile(rf"</?[a-zA-Z][\w:-]*(?:{_ATTRIBUTE})*\s*/?>|{_ENTITY}")
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]{2,}")
_LOWER_WORD = re.compile(r"(?<![^\W\d_])[a-z]{4,}(?![^\W\d_])")
_VOWEL = re.compile(r"[aeiouy]")
# Marks that ordinary prose, prices, sizes and names are written with.
_ORDINARY = frozenset(" \t\r\n.,;:!?'\"()-/&%$€£+’‘“”«»…–—°·\u3000")
# Where the punctuation of scripts other than Latin begins, and the signs and dingbats of Unicode that are no script's.
_OTHER_SCRIPTS = 0x370
_SIGNS = range(0x2000, 0x2E00)
_STRANGE_SHARE = 0.15
_UNSPEAKABLE_SHARE = 0.5
# Signs that stand in a word with letters and digits by accident only; prices, measures and names do without.
_KNOTS = frozenset("+&%=<>|{}[]~^*#@\\")
_KNOTTED_SHARE = 0.5
_FEWEST_CHARACTERS = 6


class Finding(NamedTuple):
    """A named reason, what was measured, what it was compared with, and a sentence for people."""

    reason: str
    score: float | None
    threshold: float | None
    detail: str


def judge_caption(text: str, min_words: int = 1, checks: Collection[str] = CAPTION_REASONS) -> Finding | None:
    """The first thing that is wrong with a caption, in the order of ``CAPTION_REASONS``; None if nothing is.

    Parameters
    ----------
    text : str
    min_words : int
        Words wanted, at least; 1 lets labels pass for captions.
    checks : collection of str
        Those of ``CAPTION_REASONS`` that are on.
    """
    for reason in CAPTION_REASONS:
        if reason in checks and (found := _CHECKS[reason](text, min_words)):
            return found
    return None


def _empty(text: str, _: int) -> Finding | None:
    return None if text.strip() else Finding("empty_caption", None, None, "the caption is empty")


def _control(text: str, _: int) -> Finding | None:
    bad = {char for char in text if _is_control(char)}
    names = ", ".join(f"U+{ord(char):04X}" for char in sorted(bad))
    return Finding("control_characters", None, None, f"control characters {names} in {text!r}") if bad else None


def _is_control(char: str) -> bool:
    """Whether a character is a control, private, or one that Unicode will never assign; new ones are unknown here."""
    point = ord(char)
    is_never_assigned = 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE
    return is_never_assigned or (unicodedata.category(char) in ("Cc", "Co") and char not in "\t\r\n")


def _replacement(text: str, _: int) -> Finding | None:
    lost = text.count("\ufffd")
    return Finding("replacement_characters", lost, 0, f"{lost} characters were lost: {text!r}") if lost else None


def _mojibake(text: str, _: int) -> Finding | None:
    """UTF-8 that was read as Windows-1252 or Latin-1: its bytes, taken back, are UTF-8 again."""
    for run in _FOREIGN_RUN.findall(text):
        if (meant := _reread(run)) is not None:
            return Finding("mojibake", None, None, f"{run!r} is {meant!r} in a wrong encoding: {text!r}")
    return None


def _reread(run: str) -> str | None:
    for encoding in ("cp1252", "latin-1"):
        try:
            return run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return None


def _markup(text: str, _: int) -> Finding | None:
    tag = _TAG.search(text)
    return Finding("markup", None, None, f"markup {tag.group()!r} in {text!r}") if tag else None


def _garbled(text: str, _: int) -> Finding | None:
    plain = _TAG.sub(" ", text)
    strange, unspeakable = _strange_share(plain), _unspeakable_share(plain)
    if strange > _STRANGE_SHARE:
        return Finding("garbled_caption", strange, _STRANGE_SHARE, f"{strange:.0%} unusual characters: {text!r}")
    if unspeakable > _UNSPEAKABLE_SHARE:
        detail = f"{unspeakable:.0%} of the words have no vowel: {text!r}"
        return Finding("garbled_caption", unspeakable, _UNSPEAKABLE_SHARE, detail)
    if (knotted := _knotted_share(plain)) > _KNOTTED_SHARE:
        detail = f"{knotted:.0%} of it mixes letters, digits and signs: {text!r}"
        return Finding("garbled_caption", knotted, _KNOTTED_SHARE, detail)
    return None


def _strange_share(text: str) -> float:
    """Share of characters that are neither letters, marks of letters, digits nor ordinary punctuation."""
    if len(text) < _FEWEST_CHARACTERS:
        return 0.0
    return sum(map(_is_strange, text)) / len(text)


def _is_strange(char: str) -> bool:
    kind, point = unicodedata.category(char)[0], ord(char)
    is_punctuation = kind == "P" and point >= _OTHER_SCRIPTS and point not in _SIGNS
    return not (char in _ORDINARY or kind in "LMN" or is_punctuation)


def _unspeakable_share(text: str) -> float:
    """Share of lower-case Latin words of four letters or more without a vowel; abbreviations are upper case."""
    words = _LOWER_WORD.findall(text)
    return sum(_VOWEL.search(word) is None for word in words) / len(words) if words else 0.0


def _knotted_share(text: str) -> float:
    """Share of the characters, blanks aside, that are in words of letters, digits and signs together."""
    words = text.split()
    knotted = [word for word in words if _KNOTS & set(word) and re.search(r"\d", word) and re.search(r"[^\W\d_]", word)]
    return len("".join(knotted)) / max(len("".join(words)), 1)


def _short(text: str, min_words: int) -> Finding | None:
    words = len(text.split()) if not _written_without_spaces(text) else len(text)
    if words >= min_words:
        return None
    return Finding("short_caption", words, min_words, f"fewer than {min_words} words: {text!r}")


def _written_without_spaces(text: str) -> bool:
    """Whether the text is Chinese, Japanese or Thai, where a character counts as a word."""
    return any(unicodedata.name(char, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI")) for char in text)


_CHECKS = {
    "empty_caption": _empty,
    "control_characters": _control,
    "replacement_characters": _replacement,
    "mojibake": _mojibake,
    "garbled_caption": _garbled,
    "markup": _markup,
    "short_caption": _short,
}
