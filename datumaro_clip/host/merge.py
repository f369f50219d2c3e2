"""Merges datasets: pictures that are the same become one item, names that mean the same become one label."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from datumaro.components.annotation import Annotation, AnnotationType, Caption, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

from datumaro_clip.curate.mapping import NameMapping
from datumaro_clip.curate.split import copy_groups
from datumaro_clip.curate.synonyms import COINCIDENT, iou, matched
from datumaro_clip.errors import OptionError
from datumaro_clip.host.items import key_of, label_names, neutral
from datumaro_clip.host.labels import FORMER, Renaming, instances_of, require_known, set_parents, without_doubles
from datumaro_clip.host.sources import Named

log = logging.getLogger(__name__)

#: The attribute of an item that tells where it came from, as ``A:id@subset, B:id@subset``.
SOURCES = "clip_sources"


@dataclass
class MergeReport:
    """Counts and lists of what merging did; ``vars`` of it are JSON values.

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
    """An item, its source's name, and the renaming of its source's labels, of which each source has its own."""

    source: str
    renaming: Renaming
    item: DatasetItem


class _Merging:
    def __init__(self, sources: Sequence[Named], mapping: NameMapping, near: bool, subset_of: str | None) -> None:
        self._mapping, self._near, self._subset_of = mapping, near, subset_of
        self._sources = sources
        self._labels = LabelCategories()
        self._renamings = [Renaming(source.dataset.categories(), mapping.renames, self._labels) for source in sources]
        set_parents(self._labels, mapping)
        self._taken: set[tuple[str, str]] = set()
        self._report = MergeReport()

    def run(self) -> tuple[Dataset, MergeReport]:
        parts, items = [], []
        for source, renaming in zip(self._sources, self._renamings, strict=True):
            classes = label_names(source.dataset.categories())
            for item in source.dataset:
                parts.append(_Part(source.name, renaming, item))
                items.append(neutral(item, classes))
        groups = copy_groups(items, near=self._near).tolist()
        merged = [self._item(cluster) for cluster in _clusters(parts, groups)]
        self._report.counts["items"] = len(merged)
        self._report.counts["items in the sources"] = len(parts)
        infos = {"clip_labels": self._mapping.record()} if self._mapping.sha256 else {}
        return Dataset.from_iterable(merged, infos, self._categories(), media_type=Image), self._report

    def _categories(self) -> dict[Any, Any]:
        """Return all categories; a label's colour and skeleton are those of the first source that has one."""
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

    def _item(self, cluster: list[_Part]) -> DatasetItem:
        first = cluster[0]
        owner = next((part for part in cluster if part.source == self._subset_of), first)
        subset, identifier = str(owner.item.subset), str(first.item.id)
        if (identifier, subset) in self._taken:
            suffixed = f"{identifier}-{first.source}"
            while (suffixed, subset) in self._taken:
                suffixed += "'"
            self._report.renamed.append(f"{identifier}@{subset} of {first.source} is {suffixed}")
            identifier = suffixed
        self._taken.add((identifier, subset))
        told = ", ".join(f"{part.source}:{key_of(part.item)}" for part in cluster)
        attributes: dict[str, Any] = {}
        for part in reversed(cluster):
            # Numbers by which COCO knows pictures are a source's own.
            attributes.update({name: value for name, value in part.item.attributes.items() if name != "id"})
        if len(cluster) > 1:
            self._report.joined.append(f"{identifier}@{subset}: {told}")
        notes = self._annotations(cluster, f"{identifier}@{subset}")
        return first.item.wrap(
            id=identifier, subset=subset, annotations=notes, attributes={**attributes, SOURCES: told}
        )

    def _annotations(self, cluster: list[_Part], name: str) -> list[Annotation]:
        """Return those of the first part, and what the others have beyond them; whoever writes them gives new ids."""
        names = [label.name for label in self._labels.items]
        kept: list[Annotation] = []
        for part in cluster:
            group = max((note.group for note in kept), default=0)
            notes = without_doubles(
                [
                    part.renaming.annotation(note, id=0, group=note.group + group if note.group else 0)
                    for note in part.item.annotations
                ]
            )
            self._report.counts["things in the sources"] += len(instances_of(notes, names))
            kept += self._beyond(kept, notes, names, name)
        self._report.counts["things"] += len(instances_of(kept, names))
        return kept

    def _beyond(self, kept: list[Annotation], notes: list[Annotation], names: list[str], name: str) -> list[Annotation]:
        """Return the annotations that are not there yet: a thing is there if one of its label is in its place."""
        if not kept:
            return notes
        places, things = [each.box for each in instances_of(kept, names)], instances_of(notes, names)
        same = {id(right) for _, right in matched(places, [each.box for each in things], same_label=True)}
        is_there: dict[int, bool] = {}
        for thing in things:
            is_there.update((id(note), id(thing.box) in same) for note in thing.annotations)
            box, label = thing.box
            others = {one.label for one in places if one.label != label and iou(one.box, box) >= COINCIDENT}
            if others and id(thing.box) not in same:
                self._report.conflicts.append(f"{name}: {' or '.join(sorted(others))} is {label} elsewhere")
        said = {_content(note) for note in kept}
        return [note for note in notes if not (is_there[id(note)] if id(note) in is_there else _content(note) in said)]


def _clusters(parts: Sequence[_Part], groups: Sequence[int]) -> list[list[_Part]]:
    """Return the parts of each picture, one of each source at most, in the order of their first ones."""
    found: list[list[_Part]] = []
    by_group: dict[int, list[list[_Part]]] = {}
    for part, group in zip(parts, groups, strict=True):
        own = by_group.setdefault(group, [])
        cluster = next((each for each in own if all(part.renaming is not one.renaming for one in each)), None)
        if cluster is None:
            cluster = []
            own.append(cluster)
            found.append(cluster)
        cluster.append(part)
    return found


def _content(note: Any) -> str:
    """Return what an annotation without a place says, as text."""
    if isinstance(note, Caption):
        return f"caption {note.caption}"
    attributes = {key: value for key, value in note.attributes.items() if key != FORMER}
    return repr(note.wrap(id=0, group=0, attributes=attributes if not hasattr(note, "label") else {}))
