"""What is true of a catalogue: the planted defects, the look-alikes, what each picture shows."""

from __future__ import annotations

from typing import Any

from datumaro_clip.demo.catalogue.plan import LOOK_ALIKE, Entry


def truth_document(entries: list[Entry], seed: int) -> dict[str, Any]:
    """The contents of ``truth.json``, as docs/catalogue.md describes them."""
    return {
        "items": len(entries),
        "seed": seed,
        "defects": [_defect(entry) for entry in entries if entry.role not in ("", LOOK_ALIKE)],
        "look_alikes": [[entry.of.id, entry.id] for entry in entries if entry.of and entry.role == LOOK_ALIKE],
        "attributes": {entry.id: entry.spec.attributes for entry in entries if entry.role != "outlier"},
    }


def _defect(entry: Entry) -> dict[str, Any]:
    """One planted defect; keys that do not apply are left out."""
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
