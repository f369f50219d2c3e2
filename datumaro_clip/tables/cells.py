"""Captions and labels in cells: one text, several with separators, a list, or the turns of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from datumaro_clip.tables.rows import Value, as_text


def texts_in(value: Value, separator: str | None = None) -> tuple[str, ...]:
    """Return the captions or labels in a cell.

    A text is one, or several with separators between them. A list of texts is several; a list of turns, as LLaVA has
    them, stands for the model's answers. A number stands for its digits.
    """
    if isinstance(value, str):
        return tuple(filter(None, map(str.strip, value.split(separator)))) if separator else (value,)
    if isinstance(value, list):
        if all(isinstance(each, str) for each in value):
            return tuple(value)
        return tuple(str(turn.get("value", "")) for turn in value if _is_answer(turn))
    if isinstance(value, int | float):
        return (as_text(value),)
    return ()


def _is_answer(turn: Value) -> bool:
    return isinstance(turn, dict) and turn.get("from") == "gpt"


def with_texts(value: Value, texts: Sequence[str], separator: str | None = None) -> Value:
    """Return a cell with these captions or labels, in the form that ``value`` has; None for none."""
    if isinstance(value, list):
        return list(texts) if not any(map(_is_answer, value)) else _answering(value, list(texts))
    if len(texts) > 1 and not separator:
        return list(texts)
    return (separator or "").join(texts) if texts else None


def _answering(turns: Sequence[Value], texts: list[str]) -> list[Value]:
    """Return turns whose answers are these texts; a question whose answer is gone is left out, too."""
    answers = [place for place, turn in enumerate(turns) if _is_answer(turn)]
    if len(answers) == len(texts):
        new = dict(zip(answers, texts, strict=True))
        return [{**turn, "value": new[place]} if place in new else turn for place, turn in enumerate(turns)]
    kept: list[Value] = []
    start = 0
    for place in answers:
        if turns[place].get("value") in texts:
            kept += turns[start : place + 1]
        start = place + 1
    return kept
