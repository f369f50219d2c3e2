"""What is wrong inside duplicate groups: copies on both sides of a split, copies that are labelled differently."""

from __future__ import annotations

from collections.abc import Sequence

from datumaro.components.annotation import Bbox, Label
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.host.apply import key_of

_NAMED = 50


def leaks(groups: Sequence[Sequence[DatasetItem]]) -> list[str]:
    """One note a group that lies in more than one subset, up to fifty, after one with their number."""
    across = [group for group in groups if len({item.subset for item in group}) > 1]
    notes = [f"leak: {', '.join(str(key_of(item)) for item in group)}" for group in across[:_NAMED]]
    return [f"{len(across)} duplicate groups lie across subsets", *notes] if across else []


def conflicts(group: Sequence[DatasetItem]) -> str:
    """A sentence on how the members of a group are labelled differently; empty where they agree.

    Members without any label, or any box, say nothing.
    """
    found = []
    for name, told in (("labels", _labels), ("boxes", _boxes)):
        versions = {said for item in group if (said := told(item))}
        if len(versions) > 1:
            found.append(f"{name} differ: {' / '.join(sorted(map(str, versions)))}")
    return "; ".join(found)


def _labels(item: DatasetItem) -> tuple[int, ...]:
    return tuple(sorted({note.label for note in item.annotations if isinstance(note, Label)}))


def _boxes(item: DatasetItem) -> tuple[tuple[int, int], ...]:
    """How many boxes of each label; their places move with the picture's edges."""
    labels = [note.label for note in item.annotations if isinstance(note, Bbox) and note.label is not None]
    return tuple(sorted((label, labels.count(label)) for label in set(labels)))
