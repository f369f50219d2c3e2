"""The validator ``clip_integrity``."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from datumaro.components.annotation import Bbox, Caption
from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.errors import DatasetItemValidationError
from datumaro.components.validator import Severity, Validator

from datumaro_clip.curate.integrity import SEVERITIES, ItemRecord, NumberedBox, find_faults
from datumaro_clip.errors import ImageError
from datumaro_clip.host.apply import key_of
from datumaro_clip.host.carried import ATTRIBUTE
from datumaro_clip.host.curation.pictures import open_picture
from datumaro_clip.host.images import has_picture
from datumaro_clip.host.items import label_names
from datumaro_clip.vectors import Embedding, VectorSpace

log = logging.getLogger(__name__)


class ClipIntegrityValidator(Validator):
    """
    Checks that ids, subsets, labels, captions, boxes, media and vectors agree with one another.|n
    |n
    Example:|n
    |s|sdatum validate path/to/coco:coco -t clip_integrity -- --subsets train val
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the names that subsets may have, and whether to decode pictures."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        parser.add_argument("--subsets", nargs="+", metavar="NAME", help="names that subsets may have (default: any)")
        parser.add_argument("--no-decode", action="store_true", help="do not decode the pictures")
        return parser

    def __init__(self, subsets: Iterable[str] | None = None, no_decode: bool = False) -> None:
        super().__init__()
        self._subsets = None if subsets is None else tuple(subsets)
        self._decodes = not no_decode

    def compute_statistics(self, dataset: IDataset) -> dict[str, Any]:
        """Count items and faults by kind; the faults themselves are under ``faults``."""
        records = (self._record(item) for item in dataset)
        faults = find_faults(records, len(label_names(dataset.categories())), self._subsets)
        by_kind = Counter(fault.kind for fault in faults)
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items()))
        log.info("clip_integrity: %d items; %s", len(dataset), told or "no fault")
        return {
            "items": len(dataset),
            "by_kind": {kind: by_kind.get(kind, 0) for kind in SEVERITIES},
            "faults": [[fault.kind, *fault.key, fault.message] for fault in faults],
        }

    def generate_reports(self, stats: dict[str, Any]) -> list[Any]:
        """One report a fault, in Datumaro's form."""
        return [_report(kind, item, subset, message) for kind, item, subset, message in stats["faults"]]

    def _record(self, item: DatasetItem) -> ItemRecord:
        size, error = self._picture(item)
        vector, space = _vector(item)
        notes = list(enumerate(item.annotations))
        return ItemRecord(
            key_of(item),
            has_picture(item),
            error,
            size,
            tuple((n, note.label) for n, note in notes if getattr(note, "label", None) is not None),
            tuple((n, note.caption) for n, note in notes if isinstance(note, Caption)),
            tuple(NumberedBox(n, note.x, note.y, note.w, note.h) for n, note in notes if isinstance(note, Bbox)),
            vector,
            space,
        )

    def _picture(self, item: DatasetItem) -> tuple[tuple[int, int] | None, tuple[str, str] | None]:
        if not self._decodes or not has_picture(item):
            return None, None
        try:
            return open_picture(item).size, None
        except ImageError as exc:
            return None, (exc.reason, str(exc))


class IntegrityFaultError(DatasetItemValidationError):
    """A fault as Datumaro reports it."""

    def __init__(self, item_id: str, subset: str, kind: str, message: str, severity: Severity) -> None:
        super().__init__(severity=severity, item_id=item_id, subset=subset)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """As a validation report holds it."""
        return {
            "anomaly_type": self.kind,
            "description": self.message,
            "severity": self.severity.name,
            "item_id": self.item_id,
            "subset": self.subset,
        }


def _report(kind: str, item: str, subset: str, message: str) -> IntegrityFaultError:
    severity = {"error": Severity.error, "warning": Severity.warning, "info": Severity.info}[SEVERITIES[kind]]
    return IntegrityFaultError(item, subset, kind, message, severity)


def _vector(item: DatasetItem) -> tuple[Any, VectorSpace | None]:
    """An item's vector as it is stored, and the space that it claims to be of; also where it is no unit vector."""
    value = item.attributes.get(ATTRIBUTE)
    if value is None:
        return None, None
    if isinstance(value, Embedding):
        return value.vector, value.vector_space
    said = value if isinstance(value, dict) else {}
    try:
        vector = np.asarray(said.get("vector") if said else value, dtype=np.float32).ravel()
    except (TypeError, ValueError):  # What is no vector is a fault, too: it has no finite values.
        vector = np.array([np.nan], np.float32)
    return vector, VectorSpace(str(said.get("space", "unknown")), len(vector), str(said.get("model", "")))
