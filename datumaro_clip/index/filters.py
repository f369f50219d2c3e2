"""Filters of a search: conditions on an item or object, the same for every engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from datumaro_clip.errors import OptionError

Scalar = str | int | float | bool | None

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; any of several values in one condition is enough. Without any, all rows match.

    Attributes
    ----------
    subsets : tuple of str
        The item's subset is one of these.
    classes : tuple of str
        The object, or one of the item's labelled annotations, is of one of these classes.
    min_score : float or None
        The confidence of the same object or annotation is at least this, from 0 to 1; without a score it counts as 1.
    tags : tuple of str
        The item's attribute ``tags`` has one of these.
    added_from, added_before : datetime or None
        The item's attribute ``clip_added`` is not before the first, and before the second; naive ones are UTC. An item
        without a date never matches.
    attributes : mapping
        ``{name: value or values}``: the item's attribute is one of the values (text, number, truth or None).

    Raises
    ------
    OptionError
        If a value cannot be compared.
    """

    subsets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    min_score: float | None = None
    tags: tuple[str, ...] = ()
    added_from: datetime | None = None
    added_before: datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("subsets", "classes", "tags"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise OptionError(f"min_score is {self.min_score}; wanted a confidence from 0 to 1")
        for name in ("added_from", "added_before"):
            date = getattr(self, name)
            if date is not None and date.tzinfo is None:
                object.__setattr__(self, name, date.replace(tzinfo=timezone.utc))
        for name in self.attributes:
            self.attribute_values(name)

    def __hash__(self) -> int:
        attributes = tuple((name, self.attribute_values(name)) for name in sorted(self.attributes))
        dates = (self.added_from, self.added_before)
        return hash((self.subsets, self.classes, self.min_score, self.tags, dates, attributes))

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return self != Filter()

    def attribute_values(self, name: str) -> tuple[str, ...]:
        """Return the values that an attribute may have, as :func:`attribute_text` writes them."""
        value = self.attributes[name]
        values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
        texts = [attribute_text(one) for one in values]
        if None in texts:
            raise OptionError(f"attribute {name!r} cannot be {value!r}; wanted texts, numbers, truths or None")
        return tuple(text for text in texts if text is not None)


def attribute_text(value: object) -> str | None:
    """Return an attribute's value as JSON, equal numbers as equal texts; None if it is not a single value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False) if value is None or isinstance(value, (str, int, float)) else None


def microseconds(date: datetime) -> int:
    """Return the microseconds since 1970."""
    return (date - _EPOCH) // timedelta(microseconds=1)


def parse_date(text: object) -> datetime | None:
    """Parse a date and time in ISO 8601, UTC where it does not say; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        # Python 3.10 does not parse Z.
        date = datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else ""))
    except ValueError:
        return None
    return date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date


def _texts(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return texts as a tuple; refuse a single text, which is easily given for a list of one."""
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise OptionError(f"{name} is {values!r}; wanted a list of texts")
    return tuple(values)
