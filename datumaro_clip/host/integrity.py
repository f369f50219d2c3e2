"""The validator ``clip_integrity``."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from typing import Any

from datumaro.components.dataset_base import IDataset
from datumaro.components.errors import DatasetItemValidationError
from datumaro.components.validator import Severity, Validator

from datumaro_clip.curate.integrity import OPTIONS, SEVERITIES, Look, find_faults, look_at
from datumaro_clip.curate.objects import CropOptions
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.host.items import label_names, neutral
from datumaro_clip.options import read_options

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
        add_configured_options(parser, OPTIONS, "clip_integrity")
        return parser

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._values = read_options(OPTIONS, options, "clip_integrity")

    def compute_statistics(self, dataset: IDataset) -> dict[str, Any]:
        """Count items and faults by kind; the faults themselves are under ``faults``."""
        classes = label_names(dataset.categories())
        items = (neutral(item, classes) for item in dataset)
        look = (lambda item: Look()) if self._values.no_decode else look_at
        crop = CropOptions.among(vars(self._values))
        faults = find_faults(items, len(classes), self._values.subsets, look, crop)
        by_kind = Counter(fault.kind for fault in faults)
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items()))
        log.info("clip_integrity: %d items; %s", len(dataset), told or "no fault")
        return {
            "items": len(dataset),
            "by_kind": {kind: by_kind.get(kind, 0) for kind in SEVERITIES},
            "faults": [[fault.kind, *fault.key, fault.message] for fault in faults],
        }

    def generate_reports(self, stats: dict[str, Any]) -> list[Any]:
        """Return one report for each fault, in Datumaro's form."""
        return [
            IntegrityFaultError(item, subset, kind, message, Severity[SEVERITIES[kind]])
            for kind, item, subset, message in stats["faults"]
        ]


class IntegrityFaultError(DatasetItemValidationError):
    """A fault as Datumaro reports it."""

    def __init__(self, item_id: str, subset: str, kind: str, message: str, severity: Severity) -> None:
        super().__init__(severity=severity, item_id=item_id, subset=subset)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as a validation report holds it."""
        return {
            "anomaly_type": self.kind,
            "description": self.message,
            "severity": self.severity.name,
            "item_id": self.item_id,
            "subset": self.subset,
        }
