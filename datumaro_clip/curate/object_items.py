"""Objects as items of their own, so that the tools work on them as on pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np

from datumaro_clip.curate.decisions import Decision, Scalar
from datumaro_clip.curate.embedder import embed_all
from datumaro_clip.curate.item import Item, ItemBox, ItemLabel
from datumaro_clip.curate.objects import CropOptions, Objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.images import ImageLike, Region
from datumaro_clip.images.decoding import decoded
from datumaro_clip.images.regions import Cutter, require_size
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, ItemKey

# Between an item's id and the number of the object's annotation.
_SIGN = "#"


@dataclass(frozen=True, eq=False)
class ObjectItems:
    """The objects of items as items, and the way back from decisions about them.

    Attributes
    ----------
    items : list of Item
        One item an object: with the object's part of the picture, and the box's label.
    parents : dict
        The item and the object that each was made of, by its key.
    bare : list of Item
        Items without an object.
    """

    items: list[Item]
    parents: dict[ItemKey, tuple[Item, ItemBox]]
    bare: list[Item]

    @classmethod
    def of(cls, items: Sequence[Item], crop: CropOptions, model: RunModel | None) -> ObjectItems:
        """Make an item of each object.

        Parameters
        ----------
        items : sequence of Item
        crop : CropOptions
        model : RunModel or None
            Computes vectors for the objects that carry none, and leaves out those that get none; None for no vectors.
        """
        made: dict[ItemKey, tuple[Item, ItemBox]] = {}
        parts: list[Item] = []
        bare = []
        able: Iterable[tuple[Item, Sequence[ItemBox]]] = ((item, item.boxes) for item in items)
        if model is not None:
            embedded = embed_all(items, model, objects=Objects(crop, has_pictures=False))
            able = ((found.item, found.objects) for found in embedded)
        for item, boxes in able:
            shown = [(box, region) for box in boxes if (region := crop.region(box)) is not None]
            if not shown or item.picture is None:
                bare.append(item)
                continue
            for box, region in shown:
                part = Item(
                    ItemKey(f"{item.key.id}{_SIGN}{box.annotation}", item.key.subset),
                    ImageRequest(partial(_part, item, region)),
                    () if box.label is None else (ItemLabel(box.label, box.annotation),),
                    attributes={} if box.embedding is None else {EMBEDDING_ATTRIBUTE: box.embedding},
                    media=item.media,
                    annotation_count=1,
                    origin=item.origin,
                )
                made[part.key] = (item, box)
                parts.append(part)
        return cls(parts, made, bare)

    def as_annotations(self, decisions: Iterable[Decision], *, selects: bool) -> list[Decision]:
        """Convert decisions about these items to decisions about annotations of the items they were made of.

        Parameters
        ----------
        decisions : iterable of Decision
            In the order of :attr:`items`.
        selects : bool
            Whether the tool chooses what it keeps. Items without a chosen object are then dropped; the others keep all
            annotations, and chosen objects get attributes.
        """
        if not selects:
            return [self._as_annotation(one) for one in decisions]
        found: list[Decision] = []
        for _, group in groupby(decisions, key=lambda one: id(self.parents[one.key][0])):
            found += self._selected(list(group))
        return [*found, *(Decision(item.key, "drop", "no_object") for item in self.bare)]

    def _as_annotation(self, one: Decision) -> Decision:
        """Convert one decision; an object that has a label keeps it, whatever class is proposed."""
        item, box = self.parents[one.key]
        other = None if one.representative is None else self.parents[one.representative][0].key
        if other == item.key:
            # Two boxes of one picture with the same content, as of a table and the pizza on it, are no duplicates.
            one, other = replace(one, action="keep", reason="same_picture", group=None), None
        # Places are in pixels of the crop, which the dataset does not contain.
        one = replace(one, resembles=None, places=None)
        mapped = replace(one, key=item.key, annotation=box.annotation, representative=other, text=str(box.label or ""))
        if one.action == "label" and box.label is not None and one.label is not None:
            proposed: dict[str, Scalar] = {"clip_label": one.label, "clip_confidence": one.score or 0.0}
            return replace(mapped, action="mark", attributes={**one.attributes, **proposed})
        return mapped

    def _selected(self, group: list[Decision]) -> Iterator[Decision]:
        """Convert the decisions about the objects of one item: first the item's own, then those of chosen objects."""
        item = self.parents[group[0].key][0]
        chosen = [one for one in group if one.action == "keep"]
        if not chosen:
            yield replace(group[0], key=item.key)
            return
        best = min(chosen, key=lambda one: (one.rank is None, one.rank or 0, -(one.score or 0)))
        yield Decision(item.key, "keep", rank=best.rank, attributes=best.attributes)
        for one in chosen:
            yield replace(self._as_annotation(one), attributes={"clip_reason": one.reason, **one.attributes})


def _part(item: Item, region: Region) -> ImageLike:
    """Cut a part out of an item's picture, (H, W, 3) uint8."""
    with decoded(item.fetch()) as picture:
        require_size(picture, item.size)
        return np.asarray(Cutter(picture)(region))
