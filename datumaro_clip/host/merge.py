"""Several datasets as one: pictures that are the same become one item, names that mean the same one label."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from datumaro.components.annotation import Annotation, AnnotationType, Caption, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.curate.mapping import NameMapping
from datumaro_clip.curate.split import copy_groups
from datumaro_clip.curate.synonyms import COINCIDENT, LabelledBox, iou, matched
from datumaro_clip.errors import OptionError
from datumaro_clip.host.items import key_of, label_names, neutral
from datumaro_clip.host.label_names import FORMER, Renaming, instances_of, without_doubles
from datumaro_clip.host.labels import require_known, set_parents
from datumaro_clip.host.sources import open_dataset

log = logging.getLogger(__name__)

#: The attribute of an item that tells where it came from, as ``A:id@subset, B:id@subset``.
SOURCES = "clip_sources"


class Named(NamedTuple):
    """A dataset, and what to call it."""

    name: str
    dataset: Dataset


@dataclass
class MergeReport:
    """What merging did.

    Attributes
    ----------
    counts : collections.Counter
        Items and things (boxes, polygons, masks of one group) by what became of them.
    joined, renamed, conflicts : list of str
        Items made of several; ids that got a suffix; things of one place that sources call differently.
    """

    counts: Counter[str] = field(default_factory=Counter)
    joined: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        told = {"joined": self.joined, "renamed": self.renamed, "conflicts": self.conflicts}
        return {"counts": dict(self.counts), **told}


def open_named(specs: Sequence[str]) -> list[Named]:
    """Datasets of ``PATH:FORMAT`` or ``PATH``, each called after its path's end, equal ones with a mark."""
    found: list[Named] = []
    for spec in specs:
        dataset = open_dataset(spec)
        name = Path(dataset.data_path).name or "dataset"
        while name in {each.name for each in found}:
            name += "'"
        found.append(Named(name, dataset))
    return found


def merge(
    sources: Sequence[Named], mapping: NameMapping | None = None, *, near: bool = False, subset_of: str | None = None
) -> tuple[Dataset, MergeReport]:
    """Merge datasets; the sources stay as they are.

    Parameters
    ----------
    sources : sequence of Named
    mapping : NameMapping, optional
    near : bool
        Whether altered copies are the same picture, too.
    subset_of : str, optional
        The source whose subset an item of several sources gets; that of the first where omitted.

    Raises
    ------
    OptionError
        If a source holds no pictures, or the mapping names labels that none has.
    """
    mapping = mapping or NameMapping()
    for source in sources:
        if not issubclass(source.dataset.media_type(), Image):
            raise OptionError(f"{source.name} holds no pictures, and only those are merged")
    names = [name for source in sources for name in label_names(source.dataset.categories())]
    require_known(mapping, list(dict.fromkeys(names)))
    if subset_of is not None and subset_of not in {source.name for source in sources}:
        raise OptionError(
            f"--subset-of must be one of {', '.join(source.name for source in sources)}; got {subset_of!r}"
        )
    return _Merging(sources, mapping, near, subset_of).run()


class _Part(NamedTuple):
    """An item and the number of its source."""

    source: int
    item: DatasetItem


class _Merging:
    def __init__(self, sources: Sequence[Named], mapping: NameMapping, near: bool, subset_of: str | None) -> None:
        self._sources, self._mapping, self._near, self._subset_of = sources, mapping, near, subset_of
        self._labels = LabelCategories()
        self._renamings = [Renaming(source.dataset.categories(), mapping.renames, self._labels) for source in sources]
        set_parents(self._labels, mapping)
        self.report = MergeReport()

    def run(self) -> tuple[Dataset, MergeReport]:
        parts = [_Part(number, item) for number, source in enumerate(self._sources) for item in source.dataset]
        classes = [label_names(source.dataset.categories()) for source in self._sources]
        groups = copy_groups([neutral(part.item, classes[part.source]) for part in parts], near=self._near)
        taken: set[tuple[str, str]] = set()
        items = [self._item(cluster, taken) for cluster in _clusters(parts, groups.tolist())]
        self.report.counts["items"] = len(items)
        self.report.counts["items in the sources"] = len(parts)
        infos = {"clip_labels": self._mapping.record()} if self._mapping.sha256 else {}
        merged = Dataset.from_iterable(items, infos, self._categories(), media_type=Image)
        return merged, self.report

    def _categories(self) -> dict[Any, Any]:
        """All categories: of one label's colours and skeletons, those of the first source that has any."""
        told: dict[Any, Any] = {}
        for renaming in self._renamings:
            for kind, value in renaming.categories().items():
                if kind in (AnnotationType.mask, AnnotationType.points) and kind in told:
                    old = told[kind].colormap if kind == AnnotationType.mask else told[kind].items
                    new = value.colormap if kind == AnnotationType.mask else value.items
                    old.update({label: own for label, own in new.items() if label not in old})
                else:
                    told.setdefault(kind, value)
        return told

    def _item(self, cluster: list[_Part], taken: set[tuple[str, str]]) -> DatasetItem:
        first = cluster[0]
        owner = next((part for part in cluster if self._sources[part.source].name == self._subset_of), first)
        subset, identifier = str(owner.item.subset), str(first.item.id)
        if (identifier, subset) in taken:
            suffixed = f"{identifier}-{self._sources[first.source].name}"
            while (suffixed, subset) in taken:
                suffixed += "'"
            self.report.renamed.append(f"{identifier}@{subset} of {self._sources[first.source].name} is {suffixed}")
            identifier = suffixed
        taken.add((identifier, subset))
        told = ", ".join(f"{self._sources[part.source].name}:{key_of(part.item)}" for part in cluster)
        attributes: dict[str, Any] = {}
        for part in reversed(cluster):
            # Numbers by which COCO knows pictures are a source's own.
            attributes.update({name: value for name, value in part.item.attributes.items() if name != "id"})
        if len(cluster) > 1:
            self.report.joined.append(f"{identifier}@{subset}: {told}")
        notes = self._annotations(cluster, f"{identifier}@{subset}")
        return first.item.wrap(
            id=identifier, subset=subset, annotations=notes, attributes={**attributes, SOURCES: told}
        )

    def _annotations(self, cluster: list[_Part], name: str) -> list[Annotation]:
        """Those of the first part, and what the others have beyond it; ids are given anew by who writes them."""
        names = [label.name for label in self._labels.items]
        kept: list[Annotation] = []
        for part in cluster:
            renaming = self._renamings[part.source]
            group = max((note.group for note in kept), default=0)
            notes = without_doubles(
                [
                    renaming.annotation(note, id=0, group=note.group + group if note.group else 0)
                    for note in part.item.annotations
                ]
            )
            self.report.counts["things in the sources"] += len(instances_of(notes, names))
            kept += self._beyond(kept, notes, names, name)
        self.report.counts["things"] += len(instances_of(kept, names))
        return kept

    def _beyond(self, kept: list[Annotation], notes: list[Annotation], names: list[str], name: str) -> list[Annotation]:
        """The annotations that are not there yet: a thing is there if one of its label is in its place."""
        if not kept:
            return notes
        have, new = instances_of(kept, names), instances_of(notes, names)
        places = [each.box for each in have]
        same = {id(right) for _, right in matched(places, [each.box for each in new], same_label=True)}
        gone = {id(note) for each in new if id(each.box) in same for note in each.annotations}
        for each in new:
            if id(each.box) not in same:
                self._tell_conflict(each.box, places, name)
        shapes = {id(note) for each in new for note in each.annotations}
        said = {_content(note) for note in kept}
        return [
            note
            for note in notes
            if (id(note) in shapes and id(note) not in gone) or (id(note) not in shapes and _content(note) not in said)
        ]

    def _tell_conflict(self, box: LabelledBox, places: Sequence[LabelledBox], name: str) -> None:
        others = {other.label for other in places if other.label != box.label and iou(other.box, box.box) >= COINCIDENT}
        if others:
            self.report.conflicts.append(f"{name}: {' or '.join(sorted(others))} is {box.label} elsewhere")


def _clusters(parts: Sequence[_Part], groups: Sequence[int]) -> list[list[_Part]]:
    """Parts of one picture, one of each source at most, in the order of their first ones."""
    found: list[list[_Part]] = []
    by_group: dict[int, list[list[_Part]]] = {}
    for part, group in zip(parts, groups, strict=True):
        open_ones = by_group.setdefault(group, [])
        cluster = next((each for each in open_ones if part.source not in {one.source for one in each}), None)
        if cluster is None:
            cluster = []
            open_ones.append(cluster)
            found.append(cluster)
        cluster.append(part)
    return found


def _content(note: Any) -> str:
    """What an annotation without a place says."""
    if isinstance(note, Caption):
        return f"caption {note.caption}"
    attributes = {key: value for key, value in note.attributes.items() if key != FORMER}
    return repr(note.wrap(id=0, group=0, attributes=attributes if not hasattr(note, "label") else {}))
