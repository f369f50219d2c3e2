"""The transform ``clip_labels``."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.curate.mapping import NameMapping, read_mapping
from datumaro_clip.curate.options import File, Flag, Option
from datumaro_clip.errors import OptionError
from datumaro_clip.host.declared import DeclaredTransform
from datumaro_clip.host.items import label_names
from datumaro_clip.host.label_names import FORMER, Renaming, without_doubles

log = logging.getLogger(__name__)

OPTIONS = (
    Option("mapping", File(), None, "mapping whose accepted entries are applied", unset="required"),
    Option("ignore-unknown", Flag(), False, "skip names that the dataset does not have"),
)


class ClipLabels(DeclaredTransform):
    """
    Renames and merges labels by the accepted entries of a mapping.|n
    |n
    The former name stays in the attribute 'clip_label_was'. Boxes that become equal are merged; mask colours and
    skeletons follow their label.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_labels -o OUT path/to/voc:voc -- --mapping mapping.yaml
    """

    NAME = "clip_labels"

    @classmethod
    def options(cls) -> Sequence[Option]:
        """The mapping."""
        return OPTIONS

    @cached_property
    def mapping(self) -> NameMapping:
        """What the mapping says; :class:`OptionError` if it does not fit the dataset."""
        values = self.values
        if values.mapping is None:
            raise OptionError("clip_labels needs --mapping FILE; 'datum-clip labels propose' writes one")
        mapping = read_mapping(values.mapping)
        if not values.ignore_unknown:
            require_known(mapping, label_names(self._extractor.categories()))
        return mapping

    @cached_property
    def _renaming(self) -> Renaming:
        renaming = Renaming(self._extractor.categories(), self.mapping.renames)
        set_parents(renaming.labels, self.mapping)
        return renaming

    def categories(self) -> Any:
        """The dataset's categories, with the new names."""
        return self._renaming.categories()

    def infos(self) -> Any:
        """What the dataset says of itself, and the mapping that it went through."""
        return {**(self._extractor.infos() or {}), "clip_labels": self.mapping.record()}

    def __iter__(self) -> Iterator[DatasetItem]:
        counts: Counter[str] = Counter()
        for item in self._extractor:
            notes = [self._renaming.annotation(note) for note in item.annotations]
            counts.update(f"{note.attributes[FORMER]} renamed" for note in notes if FORMER in note.attributes)
            kept = without_doubles(notes)
            counts["joined"] += len(notes) - len(kept)
            yield item.wrap(annotations=kept)
        told = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()) if count) or "nothing to rename"
        log.info("clip_labels: %s; mapping %s", told, self.mapping.sha256)


def require_known(mapping: NameMapping, names: list[str]) -> None:
    """Refuse a mapping of labels that a dataset does not have."""
    for name in mapping.named:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names[:10])}"
            raise OptionError(f"{mapping.path}: there is no label {name!r}{meant} (--ignore-unknown passes over it)")


def set_parents(labels: Any, mapping: NameMapping) -> None:
    """Tell labels what they are a kind of, where both are there."""
    for child, parent in mapping.parents.items():
        index = labels.find(mapping.renames.get(child, child))[0]
        name = mapping.renames.get(parent, parent)
        if index is not None and labels.find(name)[0] is not None:
            labels[index].parent = name
