"""The filters of every search: which items it may find."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from datumaro_clip.index import Filter
from datumaro_clip.service.facts import Facts, Mask

Name = Annotated[str, Field(max_length=1000)]
Names = Annotated[list[Name], Field(max_length=1000)]


def number(value: object) -> object:
    """Refuse text of digits, which pydantic would read as a number, and booleans."""
    if isinstance(value, str | bool):
        raise ValueError("it is no number")
    return value


def _text(value: object) -> object:
    """Refuse numbers, which pydantic would read as seconds since 1970."""
    if not isinstance(value, str | datetime):
        raise ValueError("a time is text in ISO 8601")
    return value


Time = Annotated[datetime, BeforeValidator(_text)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Truth = Annotated[bool, Field(strict=True)]
Value = Name | Truth | Annotated[int, Field(strict=True)] | Number
Certainty = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]


class Strict(BaseModel):
    """A model that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class DateRange(Strict):
    """When items were added: at ``from`` or later, and before ``to``; a time without a zone is UTC."""

    start: Time | None = Field(default=None, alias="from", examples=["2026-01-01T00:00:00Z"])
    end: Time | None = Field(default=None, alias="to", examples=["2026-07-01T00:00:00Z"])


class NumberRange(Strict):
    """At ``from`` or above, and below ``to``."""

    start: Number | None = Field(default=None, alias="from")
    end: Number | None = Field(default=None, alias="to")


class Filters(Strict):
    """Conditions on items: those of several fields must all hold, values of one list are alternatives."""

    yolo_classes: Names = Field(default=[], description="items with an object or label of one of these classes")
    min_confidence: Certainty | None = Field(
        default=None,
        description="least confidence of that object, from 0 to 1; a box drawn by a person has 1",
    )
    subsets: Names = Field(default=[], description="items in one of these subsets")
    tags: Names = Field(default=[], description="items with one of these tags")
    date_range: DateRange | None = Field(default=None, description="items added in this range (from, to)")
    attributes: dict[Name, Value | list[Value]] = Field(
        default_factory=dict,
        max_length=100,
        description="items with all these attributes; a list allows several values",
    )
    alignment: NumberRange | None = Field(
        default=None, description="items whose best caption scores in this range (from, to)"
    )
    width: NumberRange | None = Field(default=None, description="items of this width in pixels (from, to)")
    height: NumberRange | None = Field(default=None, description="items of this height in pixels (from, to)")
    annotated: Truth | None = Field(
        default=None, description="items with (false: without) annotations other than captions"
    )
    text: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None, description="items whose id, title or caption contains this"
    )

    @property
    def wants_objects(self) -> bool:
        """Whether there is a condition on objects."""
        return bool(self.yolo_classes) or self.min_confidence is not None

    def of_object(self, class_name: str, certainty: float) -> bool:
        """Return whether an object meets the conditions on objects."""
        is_class = not self.yolo_classes or class_name in self.yolo_classes
        return is_class and (self.min_confidence is None or np.float32(certainty) >= np.float32(self.min_confidence))

    def for_index(self) -> Filter:
        """Return the conditions that the index, or an engine, can filter by."""
        dates = self.date_range or DateRange()
        return Filter(
            subsets=tuple(self.subsets),
            classes=tuple(self.yolo_classes),
            min_score=self.min_confidence,
            tags=tuple(self.tags),
            added_from=dates.start,
            added_before=dates.end,
            attributes={name: value for name, value in self.attributes.items() if value != []},
        )

    @property
    def wants_facts(self) -> bool:
        """Whether there is a condition that the index cannot filter by."""
        return bool(self._ranges or self.text) or self.annotated is not None

    def by_facts(self, facts: Facts) -> Mask:
        """Return which rows meet the conditions that the index cannot filter by, (N,)."""
        mask = np.ones(len(facts), np.bool_)
        for name, wanted in self._ranges.items():
            numbers = facts.numbers[name]
            # Half open; NaN, of an item without the number, is in no range.
            mask &= ~np.isnan(numbers)
            if wanted.start is not None:
                mask &= numbers >= wanted.start
            if wanted.end is not None:
                mask &= numbers < wanted.end
        if self.annotated is not None:
            mask &= facts.annotated == self.annotated
        if self.text:
            part = self.text.lower()
            mask &= np.fromiter((part in text for text in facts.texts), np.bool_, len(facts))
        return mask

    @property
    def _ranges(self) -> dict[str, NumberRange]:
        ranges = {"alignment": self.alignment, "width": self.width, "height": self.height}
        return {name: wanted for name, wanted in ranges.items() if wanted is not None}
