"""Writes a catalogue: pictures, COCO annotations, and the truth about what was planted."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datumaro_clip.demo.catalogue.plan import LOOK_ALIKE, SUBSETS, Entry, plan_catalogue
from datumaro_clip.demo.catalogue.rendering import Rendered, render
from datumaro_clip.demo.catalogue.spec import KINDS
from datumaro_clip.errors import OptionError
from datumaro_clip.system.files import atomic_directory

Drawn = Sequence[tuple[Entry, Rendered]]


def write_catalogue(
    directory: str | os.PathLike[str],
    *,
    items: int = 2000,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Draw a product catalogue with planted defects as a COCO dataset.

    Parameters
    ----------
    directory
        A new or empty directory. It gets ``images/<subset>/``, ``annotations/`` and ``truth.json`` (see
        docs/catalogue.md), and appears whole or not at all.
    items
        Number of items, copies and defects included; at least 40.
    seed
        The same seed and number of items give the same bytes.
    progress
        Called with the number of items drawn so far, after each.

    Raises
    ------
    OptionError
        If there are too few items, or the directory holds something.
    """
    root = Path(directory)
    entries = plan_catalogue(items, seed)
    if root.exists() and any(root.iterdir()):
        raise OptionError(f"{root} is not empty: name a new directory, so that nothing in it is lost")
    with atomic_directory(root) as whole:
        rendered = _draw_all(whole, entries, progress or (lambda done: None))
        (whole / "annotations").mkdir()
        for subset in SUBSETS:
            chosen = [(entry, drawn) for entry, drawn in zip(entries, rendered, strict=True) if entry.subset == subset]
            _write_json(whole / "annotations" / f"instances_{subset}.json", _instances_document(chosen))
            _write_json(whole / "annotations" / f"captions_{subset}.json", _captions_document(chosen))
        _write_json(whole / "truth.json", _truth_document(entries, seed))


def _draw_all(root: Path, entries: list[Entry], progress: Callable[[int], object]) -> list[Rendered]:
    """Draw every entry into its file; the results do not hold the files' bytes any more."""
    for subset in SUBSETS:
        (root / "images" / subset).mkdir(parents=True)

    def draw(entry: Entry) -> Rendered:
        drawn = render(entry)
        if drawn.content is not None:
            (root / "images" / entry.subset / entry.file_name).write_bytes(drawn.content)
        return drawn._replace(content=None)

    rendered = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for drawn in pool.map(draw, entries):
            rendered.append(drawn)
            progress(len(rendered))
    return rendered


def _write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document as indented JSON, with the same bytes on every system."""
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def _instances_document(drawn: Drawn) -> dict[str, Any]:
    """Return boxes and labels in the format of COCO's instances."""
    categories = [{"id": number, "name": kind, "supercategory": ""} for number, kind in enumerate(KINDS, start=1)]
    return {**_header(drawn), "categories": categories, "annotations": [_instance(*each) for each in drawn]}


def _captions_document(drawn: Drawn) -> dict[str, Any]:
    """Return captions in the format of COCO's captions."""
    told = [
        {"id": entry.caption_id(index), "image_id": entry.number, "caption": caption}
        for entry, _ in drawn
        for index, caption in enumerate(entry.captions)
    ]
    return {**_header(drawn), "annotations": told}


def _header(drawn: Drawn) -> dict[str, Any]:
    """Return what both documents begin with: the pictures."""
    images = [
        {"id": entry.number, "file_name": entry.file_name, "width": picture.size[0], "height": picture.size[1]}
        for entry, picture in drawn
    ]
    return {"info": {"description": "A drawn product catalogue"}, "licenses": [], "images": images}


def _instance(entry: Entry, picture: Rendered) -> dict[str, Any]:
    """Return the annotation with the box of one picture."""
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
    """Move ``box`` over the right or the lower edge of the picture, by half of itself or wholly."""
    x, y, width, height = box
    share = rng.choice((0.5, -0.1))
    if rng.random() < 0.5:
        return [round(size[0] - width * share), y, width, height]
    return [x, round(size[1] - height * share), width, height]


def _truth_document(entries: list[Entry], seed: int) -> dict[str, Any]:
    """Return the contents of ``truth.json``, as docs/catalogue.md describes them."""
    return {
        "items": len(entries),
        "seed": seed,
        "defects": [_defect(entry) for entry in entries if entry.role not in ("", LOOK_ALIKE)],
        "look_alikes": [[entry.of.id, entry.id] for entry in entries if entry.of and entry.role == LOOK_ALIKE],
        "attributes": {entry.id: entry.spec.attributes for entry in entries if entry.role != "outlier"},
    }


def _defect(entry: Entry) -> dict[str, Any]:
    """Describe one planted defect; keys that do not apply are left out."""
    found: dict[str, Any] = {"kind": entry.role, "id": entry.id, "subset": entry.subset}
    if entry.of:
        found |= {"of": entry.of.id, "of_subset": entry.of.subset}
    if entry.caption_index is not None:
        found |= {
            "caption_index": entry.caption_index,
            "caption_id": entry.caption_id(entry.caption_index),
            "caption": entry.captions[entry.caption_index],
        }
    if entry.role == "wrong_label":
        found |= {"label": entry.label, "right_label": entry.spec.kind}
    return found
