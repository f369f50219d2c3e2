"""Find captions that are of no use: empty, garbled, too short."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

import ftfy

# Tags of HTML or XML, with attributes as names or name=value; and entities.
_ATTRIBUTE = r"""\s+[a-zA-Z_:][\w:.-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))?"""
_ENTITY = r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,5});"
_TAG = re.compile(rf"</?[a-zA-Z][\w:-]*(?:{_ATTRIBUTE})*\s*/?>|{_ENTITY}")
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]{2,}")
_LATIN_WORD = re.compile(r"(?<![^\W\d_])[a-z]{2,}(?![^\W\d_])")
_VOWEL = re.compile(r"[aeiouy]")
# What people write without a vowel: "pfft", "shh", "brrr", "hmm".
_INTERJECTION = re.compile(r"[bfghmprst]+")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_GARBLED_SHARE = 0.5
# Signs that ordinary prose, prices and sizes are written with, wherever they stand.
_ORDINARY = frozenset(".,;:!?'\"()[]-/$£€°·•")
# A word by the kinds of its characters: L letters, D digits, P punctuation, S symbols, and other ASCII signs as they
# are. Between letters and digits a sign joins (R&D, AB12#3, snake_case, 4*6, cm^2); some begin or end a word (#tag,
# ~5, 50%, C++, 18+); a sign may stand alone or be repeated.
_JOINT = r"(?:[PS_+&#@]{1,2}|(?<=D)[*=%](?=D)|(?<=D)%(?=L)|(?<=L)\^(?=D))"
_WORD = re.compile(
    rf"[PS]*[#@~<>+=*_]?[PS]*[LD]+(?:{_JOINT}[LD]+)*(?:(?<=D)%|\+{{1,2}}|[*_])?[PS]*|[PS]+|([#&+|=<>~*@_^\\%])\1*"
)
_DAGGERS = range(0x2000, 0x2070)
_FEWEST_DAGGERS = 4


class Finding(NamedTuple):
    """A fault: its reason, a sentence for people, the measured value, and the limit that it was compared with."""

    reason: str
    detail: str
    score: float | None = None
    threshold: float | None = None


def _empty(text: str, _: int) -> Finding | None:
    return None if text.strip() else Finding("empty_caption", "the caption is empty")


def _control(text: str, _: int) -> Finding | None:
    names = ", ".join(f"U+{ord(char):04X}" for char in sorted(set(filter(_is_control, text))))
    return Finding("control_characters", f"control characters {names} in {text!r}") if names else None


def _is_control(char: str) -> bool:
    """Whether a character is a control, private, or one that Unicode will never assign; new ones are unknown here."""
    point = ord(char)
    is_never_assigned = 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE
    return is_never_assigned or (unicodedata.category(char) in ("Cc", "Co") and char not in "\t\r\n")


def _replacement(text: str, _: int) -> Finding | None:
    lost = text.count("\ufffd")
    return Finding("replacement_characters", f"{lost} characters were lost: {text!r}", lost, 0) if lost else None


def _mojibake(text: str, _: int) -> Finding | None:
    """Find UTF-8 that was read in another encoding, once or twice: by ftfy, and by our own rule for Cyrillic."""
    meant = ftfy.fix_encoding(text)
    if meant == text:
        meant = _FOREIGN_RUN.sub(lambda run: _reread(run.group()), text)
    return None if meant == text else Finding("mojibake", f"{text!r} is {meant!r} in a wrong encoding")


def _reread(run: str) -> str:
    """Repair a run of foreign characters that is UTF-8 read as Windows-1251; return any other as it is."""
    try:
        return run.encode("cp1251").decode("utf-8")
    except UnicodeError:
        return run


def _markup(text: str, _: int) -> Finding | None:
    tag = _TAG.search(text)
    return Finding("markup", f"markup {tag.group()!r} in {text!r}") if tag else None


def _garbled(text: str, _: int) -> Finding | None:
    plain = _TAG.sub(" ", text)
    for share, what in (
        (_odd_share(plain), "of it are no words"),
        (_unspeakable_share(plain), "of the words have no vowel"),
    ):
        if share > _GARBLED_SHARE:
            return Finding("garbled_caption", f"{share:.0%} {what}: {text!r}", share, _GARBLED_SHARE)
    return None


def _odd_share(text: str) -> float:
    """Return the share of characters, without blanks, in words that mix letters, digits and signs oddly."""
    words = text.split()
    odd = [word for word in words if not (_LINK.fullmatch(word) or _is_ordinary(word))]
    return sum(map(len, odd)) / max(sum(map(len, words)), 1)


def _is_ordinary(word: str) -> bool:
    daggers = [char for char in word if ord(char) in _DAGGERS and unicodedata.category(char) == "Po"]
    if len(daggers) >= _FEWEST_DAGGERS and len(set(daggers)) > 2:
        return False
    return _WORD.fullmatch("".join(map(_kind, word))) is not None


def _kind(char: str) -> str:
    """Return a character's kind in :data:`_WORD`; empty for marks of letters, joiners and the like."""
    group = unicodedata.category(char)[0]
    if group in "MC":
        return ""
    if group in "LN":
        return "L" if group == "L" else "D"
    return char if char.isascii() and char not in _ORDINARY else "P" if group == "P" else "S"


def _unspeakable_share(text: str) -> float:
    """Return the share of lower-case Latin words of four letters or more without a vowel."""
    words = _LATIN_WORD.findall(" ".join(word for word in text.split() if word[0] not in "#@"))
    dumb = [word for word in words if len(word) > 3 and not _VOWEL.search(word) and not _INTERJECTION.fullmatch(word)]
    return len(dumb) / len(words) if words else 0.0


def _short(text: str, min_words: int) -> Finding | None:
    # In Chinese, Japanese and Thai, which are written without spaces, a character counts as a word.
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "THAI")
    is_spaced = not any(unicodedata.name(char, "").startswith(scripts) for char in text)
    words = len(text.split()) if is_spaced else len(text)
    if words >= min_words:
        return None
    return Finding("short_caption", f"fewer than {min_words} words: {text!r}", words, min_words)


_CHECKS = {
    "empty_caption": _empty,
    "control_characters": _control,
    "replacement_characters": _replacement,
    "mojibake": _mojibake,
    "garbled_caption": _garbled,
    "markup": _markup,
    "short_caption": _short,
}
CAPTION_REASONS = tuple(_CHECKS)


def judge_caption(text: str, min_words: int = 1, checks: Collection[str] = CAPTION_REASONS) -> Finding | None:
    """Return the first fault of a caption, in the order of ``CAPTION_REASONS``; None if it has none.

    Parameters
    ----------
    text : str
    min_words : int
        Fewest words; 1 accepts labels as captions.
    checks : collection of str
        Those of ``CAPTION_REASONS`` to look for.
    """
    for reason in CAPTION_REASONS:
        if reason in checks and (found := _CHECKS[reason](text, min_words)):
            return found
    return None
