"""Requests and answers as pydantic models, for validation and for OpenAPI."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from datumaro_clip.service.filters import Filters, Name, Truth, number

# A character that no language counts as a blank: Python's \s is more than JavaScript's, but for U+FEFF.
_VISIBLE = r"[^\s\x1C-\x1F\x85\uFEFF]"


def _not_blank(text: object) -> object:
    """Refuse a blank text, with a better message than the pattern's."""
    if isinstance(text, str) and not re.search(_VISIBLE, text):
        raise ValueError("it is empty; say what to look for")
    return text


Text: TypeAlias = Annotated[
    str,
    BeforeValidator(_not_blank),
    Field(
        min_length=1,
        max_length=2000,
        pattern=_VISIBLE,
        examples=["lampe torche étanche"],
        description="the text to search for",
    ),
]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1000, description="most hits")]
TargetName: TypeAlias = Annotated[
    Literal["pictures", "captions", "objects"], Field(description="what to compare with the query")
]
Id: TypeAlias = Annotated[str, Field(max_length=4000, description="an image_id, or the item's own id")]


class Wanted(Filters):
    """What every search takes."""

    top_k: Annotated[Count, BeforeValidator(number)] = 10
    stores: Annotated[list[Name], Field(max_length=100)] | None = Field(
        default=None, description="stores to search; all if omitted"
    )


class SearchRequest(Wanted):
    """A search by text."""

    query: Text
    target: TargetName = "pictures"


class ObjectSearchRequest(Wanted):
    """A search for objects by text."""

    query: Text
    group: Truth = Field(default=True, description="one hit per picture, with its objects; false: one hit per object")


class HybridRequest(Wanted):
    """A search by text among what passes all filters."""

    text_query: Text
    target: TargetName = "pictures"


class SimilarRequest(Wanted):
    """A search by an item, or by one of its objects."""

    id: Id
    store: Name | None = Field(default=None, description="store of the item, where several have the id")
    subset: Name | None = Field(default=None, description="subset of the item, where several have the id")
    annotation: Annotated[int, Field(ge=0), BeforeValidator(number)] | None = Field(
        default=None, description="index of a box among the item's annotations"
    )
    target: TargetName = "pictures"


class Metadata(BaseModel):
    """What is known of an item."""

    title: str | None
    captions: list[str]
    labels: list[str]
    attributes: dict[str, Any]
    tags: list[str]
    added: str | None
    size: list[int] | None = Field(description="height and width of the picture, pixels")
    alignment: float | None = Field(description="score of its best caption")


class Corners(BaseModel):
    """A box by its corners, pixels of the stored picture."""

    x1: float
    y1: float
    x2: float
    y2: float


class FoundObject(BaseModel):
    """An object in a picture."""

    annotation: int
    bbox: Corners
    class_name: str
    confidence: float
    score: float | None = None


class FoundCaption(BaseModel):
    """The caption that fits best."""

    annotation: int
    text: str | None
    score: float


class ItemAnswer(BaseModel):
    """An item."""

    image_url: str | None = Field(examples=["http://127.0.0.1:8000/images/products/train/lamp-0007/lamp-0007.jpg"])
    image_id: str = Field(examples=["products/train/lamp-0007"])
    store: str
    subset: str
    id: str
    metadata: Metadata


class HitAnswer(ItemAnswer):
    """An item that was found."""

    score: float = Field(ge=-1.001, le=1.001, description="cosine similarity with the query")
    objects: list[FoundObject] | None = None
    caption: FoundCaption | None = None


class IngestAnswer(BaseModel):
    """What became of a picture that was sent."""

    image_id: str
    image_url: str | None
    num_detections: int
    processing_time: float = Field(description="seconds")
    created: bool = Field(description="false: the store already holds these bytes, and is unchanged")
    alignment: float | None
    reasons: list[str] = Field(description="defects that clip_clean would find")
    duplicate_of: str | None = Field(description="image_id of the picture that it is a copy of")
    vector: list[float] | None = None
    objects: list[FoundObject] | None = None


class IngestFailure(BaseModel):
    """A picture of a batch that was not stored."""

    error: dict[str, Any]
    reasons: list[str] | None = Field(default=None, description="where the policy refuses it")
    duplicate_of: str | None = None


class AnalyzedObject(FoundObject):
    """An object that the detector found."""

    vector: list[float]


class Analysis(BaseModel):
    """What is in a picture."""

    size: list[int] = Field(description="height and width, pixels")
    vector: list[float]
    objects: list[AnalyzedObject]
    reasons: list[str] = Field(description="defects that clip_clean would find")
    space: str
    precision: str
    processing_time: float
