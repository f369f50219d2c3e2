"""The COCO documents of one subset."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from datumaro_clip.demo.catalogue.plan import Entry
from datumaro_clip.demo.catalogue.rendering import Rendered
from datumaro_clip.demo.catalogue.spec import KINDS

Drawn = Sequence[tuple[Entry, Rendered]]


def instances_document(drawn: Drawn) -> dict[str, Any]:
    """Boxes and labels, as ``instances_<subset>.json`` has them."""
    boxes = [_instance(entry, picture) for entry, picture in drawn]
    categories = [{"id": number, "name": kind, "supercategory": ""} for number, kind in enumerate(KINDS, start=1)]
    return {**_header(drawn), "categories": categories, "annotations": boxes}


def captions_document(drawn: Drawn) -> dict[str, Any]:
    """Captions, as ``captions_<subset>.json`` has them."""
    told = [
        {"id": entry.caption_id(index), "image_id": entry.number, "caption": caption}
        for entry, _ in drawn
        for index, caption in enumerate(entry.captions)
    ]
    return {**_header(drawn), "annotations": told}


def _header(drawn: Drawn) -> dict[str, Any]:
    """What both documents begin with: the pictures."""
    images = [
        {"id": entry.number, "file_name": entry.file_name, "width": picture.size[0], "height": picture.size[1]}
        for entry, picture in drawn
    ]
    return {"info": {"description": "A drawn product catalogue"}, "licenses": [], "images": images}


def _instance(entry: Entry, picture: Rendered) -> dict[str, Any]:
    """The box of one picture."""
    left, top, right, bottom = picture.box
    box = [left, top, right - left, bottom - top]
    if entry.role == "box_outside":
        box = _pushed_out(box, picture.size, random.Random(entry.id))
    return {
        "id": entry.number,
        "image_id": entry.number,
        "category_id": KINDS.index(entry.label) + 1,
        "bbox": box,
        "area": box[2] * box[3],
        "segmentation": [],
        "iscrowd": 0,
    }


def _pushed_out(box: list[int], size: tuple[int, int], rng: random.Random) -> list[int]:
    """``box`` moved over the right or the lower edge of the picture, by half of itself or wholly."""
    x, y, width, height = box
    share = rng.choice((0.5, -0.1))
    if rng.random() < 0.5:
        return [round(size[0] - width * share), y, width, height]
    return [x, round(size[1] - height * share), width, height]
