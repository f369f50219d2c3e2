"""The transform ``clip_normalize``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from datumaro.components.annotation import Annotation, Caption
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.mapping import NameMapping, read_mapping
from datumaro_clip.curate.metadata import CAPTION_RULES, LABEL_CASES, Change, alike_attributes, clean_captions
from datumaro_clip.host.items import key_of, label_names
from datumaro_clip.host.labels import Renaming, without_doubles
from datumaro_clip.host.objects import class_of
from datumaro_clip.host.transform import DeclaredTransform
from datumaro_clip.options import Choice, File, Flag, Option, Several
from datumaro_clip.tables.delimited import write_delimited

log = logging.getLogger(__name__)

OPTIONS = (
    Option("captions", Several(of=Choice(names=CAPTION_RULES)), (), "rules to apply to captions"),
    Option("labels", Choice(names=tuple(LABEL_CASES)), "keep", "case of label names"),
    Option("mapping", File(), None, "mapping with names and types of attributes", unset="they stay"),
    Option("dry-run", Flag(), False, "only log what would change"),
    Option("report", File(), None, "write each change to this CSV file", changes="report"),
)
_COLUMNS = ("id", "subset", "kind", "rule", "before", "after")
_NAMED = 10


class ClipNormalize(DeclaredTransform):
    """
    Normalises metadata: cleans captions by rules, changes the case of labels, and renames and types attributes by a
    mapping. The log has a table of what changed.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_normalize -o OUT path/to/coco:coco -- --captions clean --labels lower
    """

    NAME = "clip_normalize"

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the rules."""
        return OPTIONS

    @cached_property
    def _mapping(self) -> NameMapping:
        return read_mapping(self.values.mapping) if self.values.mapping else NameMapping()

    @cached_property
    def _renaming(self) -> Renaming:
        names = label_names(self._extractor.categories())
        case = LABEL_CASES[self.values.labels]
        return Renaming(self._extractor.categories(), {name: case(name) for name in names if case(name) != name})

    def categories(self) -> Any:
        """Return the dataset's categories, with labels of the wanted case."""
        if self.values.dry_run or self.values.labels == "keep":
            return self._extractor.categories()
        return self._renaming.categories()

    def __iter__(self) -> Iterator[DatasetItem]:
        counts: Counter[str] = Counter()
        problems: list[str] = []
        path = self.values.report
        with write_delimited(Path(path), _COLUMNS, ",") if path else nullcontext() as report:
            for item in self._extractor:
                new, changes, wrong = self._alike(item)
                counts.update(f"{change.kind} {change.rule}" for change in changes)
                problems += [f"{key_of(item)}: {problem}" for problem in wrong]
                if report is not None:
                    for change in changes:
                        report({"id": item.id, "subset": item.subset, **change._asdict()})
                yield item if self.values.dry_run else new
        _tell(counts, problems, is_dry=self.values.dry_run)

    def _alike(self, item: DatasetItem) -> tuple[DatasetItem, list[Change], list[str]]:
        captions = [note.caption for note in item.annotations if isinstance(note, Caption)]
        texts, changes = clean_captions(captions, self.values.captions)
        attributes, others, problems = alike_attributes(item.attributes, self._mapping.attributes)
        rest = iter(texts)
        notes: list[Annotation] = []
        for note in item.annotations:
            if isinstance(note, Caption):
                if (text := next(rest)) is not None:
                    notes.append(note.wrap(caption=text))
            elif self.values.labels == "keep":
                notes.append(note)
            else:
                new = self._renaming.annotation(note)
                before = class_of(note, self._renaming.names)
                if isinstance(before, str) and (after := self._renaming.labels[new.label].name) != before:
                    changes.append(Change("label", "case", before, after))
                notes.append(new)
        new_item = item.wrap(annotations=without_doubles(notes), attributes=attributes)
        return new_item, [*changes, *others], problems


def _tell(counts: Counter[str], problems: list[str], *, is_dry: bool) -> None:
    log.info("clip_normalize%s: %s", " (dry run)" if is_dry else "", "nothing changes" if not counts else "changes")
    for what, count in sorted(counts.items()):
        log.info("  %-24s %8d", what, count)
    for problem in problems[:_NAMED]:
        log.warning("clip_normalize: %s", problem)
    if len(problems) > _NAMED:
        log.warning("clip_normalize: and %d more values that stay as they are", len(problems) - _NAMED)
