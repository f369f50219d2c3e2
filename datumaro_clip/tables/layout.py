"""The meaning of a table's columns, by options or by the columns' usual names; captions and labels in their cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datumaro_clip.errors import OptionError, TableError
from datumaro_clip.tables.options import SEVERAL, USUAL_NAMES, TableOptions
from datumaro_clip.tables.rows import Value, as_text


@dataclass(frozen=True)
class Layout:
    """The meaning of one table's columns: the options of :class:`TableOptions`, decided for this table."""

    columns: tuple[str, ...]
    image: str | None = None
    template: str | None = None
    image_if: tuple[str, str] | None = None
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_separator: str | None = None
    id: str | None = None
    subset: str | None = None
    url: str | None = None
    attributes: tuple[str, ...] | None = None

    def texts_in(self, column: str, value: Value) -> tuple[str, ...]:
        """Return the captions or labels in a cell of a column; empty labels are left out.

        A text is one, or several with separators between them. A list of texts is several; a list of turns, as LLaVA
        has them, stands for the model's answers. A number stands for its digits.
        """
        separator = self._separator(column)
        texts: Iterable[str] = ()
        if isinstance(value, str):
            texts = filter(None, map(str.strip, value.split(separator))) if separator else [value]
        elif isinstance(value, list):
            is_plain = all(isinstance(each, str) for each in value)
            texts = value if is_plain else [str(turn.get("value", "")) for turn in value if _is_answer(turn)]
        elif isinstance(value, int | float):
            texts = [as_text(value)]
        return tuple(texts) if column in self.captions else tuple(filter(None, texts))

    def with_texts(self, column: str, value: Value, texts: Sequence[str]) -> Value:
        """Return a cell with these captions or labels, in the form that ``value`` has; None for none."""
        if value is not None and self.texts_in(column, value) == tuple(texts):
            return value
        if isinstance(value, list):
            return list(texts) if not any(map(_is_answer, value)) else _answering(value, list(texts))
        separator = self._separator(column)
        if len(texts) > 1 and not separator:
            return list(texts)
        return (separator or "").join(texts) if texts else None

    def _separator(self, column: str) -> str | None:
        return None if column in self.captions else self.label_separator

    def options(self) -> TableOptions:
        """Return options that give a table with these columns this layout."""
        return TableOptions(
            image_column=None if self.template else self.image or "",
            image_template=self.template,
            image_if="=".join(self.image_if) if self.image_if else None,
            caption_column=self.captions,
            label_column=self.labels,
            label_separator=self.label_separator,
            id_column=self.id or "",
            subset_column=self.subset or "",
            url_column=self.url or "",
        )


def _is_answer(turn: Value) -> bool:
    return isinstance(turn, dict) and turn.get("from") == "gpt"


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


def settle_layout(columns: Sequence[str], options: TableOptions, where: str) -> Layout:
    """Decide what columns mean: by the options, else by their usual names.

    Raises
    ------
    OptionError
        If an option names a column that the table does not have.
    TableError
        If two columns have usual names of one meaning.
    """

    def chosen(role: str, given: Sequence[str] | None) -> tuple[str, ...]:
        if given is None:
            return usual_columns(columns, role)
        if missing := [name for name in given if name not in columns]:
            flag = f"--{role.replace('_', '-')}"
            raise OptionError(f"{flag}: {where} has no column {missing[0]!r}; it has {', '.join(columns)}")
        return tuple(given)

    def one(role: str) -> str | None:
        given = getattr(options, role)
        found = chosen(role, [given] if given else given)
        if len(found) > 1:
            flag = f"--{role.replace('_', '-')}"
            names = " and ".join(map(repr, found))
            raise TableError(f"{where} has the columns {names}; say which is meant with {flag}: datum-clip table init")
        return found[0] if found else None

    chosen("attributes", options.attributes or ())
    condition = None
    if options.image_if is not None:
        column, _, value = options.image_if.partition("=")
        condition = column, value
    return Layout(
        tuple(columns),
        None if options.image_template else one("image_column"),
        options.image_template,
        condition,
        chosen("caption_column", options.caption_column),
        chosen("label_column", options.label_column),
        options.label_separator,
        one("id_column"),
        one("subset_column"),
        one("url_column"),
        options.attributes,
    )


def usual_columns(columns: Iterable[str], role: str) -> tuple[str, ...]:
    """Return the columns with usual names of a meaning; for captions and labels also numbered, as ``caption_2``."""
    number = r"(_\d+)?" if role in SEVERAL else ""
    usual = re.compile(f"(?i)({'|'.join(USUAL_NAMES[role])}){number}")
    return tuple(column for column in columns if usual.fullmatch(column))
