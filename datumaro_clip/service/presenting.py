"""Items and hits as the JSON that requests are answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from datumaro_clip.index import CAPTIONS, OBJECTS
from datumaro_clip.service.described import Described, Object, iso
from datumaro_clip.service.filters import Filters
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import Pictures
from datumaro_clip.service.searching import Hit
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.similarity import exact_scores
from datumaro_clip.vectors import FloatArray

Json = dict[str, Any]


class Presenter:
    """Writes items for one request, whose address begins the URLs.

    Parameters
    ----------
    base : str
        The service's own address, without a slash at its end.
    pictures : Pictures
    """

    def __init__(self, base: str, pictures: Pictures) -> None:
        self._base, self._pictures = base, pictures

    def hit(self, hit: Hit, query: FloatArray, target: str, filters: Filters, *, group: bool = True) -> Json:
        """A hit of a search for a vector."""
        described = hit.snapshot.described(hit.row)
        answer = self.item(hit.snapshot, hit.row, described)
        answer["score"] = round(hit.score, 6)
        if target == CAPTIONS:
            answer["caption"] = _caption(hit, described)
        elif target == OBJECTS:
            found = _objects(hit, query, filters)
            annotation = int(hit.snapshot.index.targets[target].annotations[hit.vector])
            if not group:
                return {**answer, **next(each for each in found if each["annotation"] == annotation)}
            answer["objects"] = found
        elif filters.wants_objects:
            wanted = (each for each in described.objects if filters.of_object(each.class_name, each.certainty))
            answer["objects"] = [object_json(each) for each in wanted]
        return answer

    def item(self, snapshot: Snapshot, row: int, described: Described) -> Json:
        """What every answer says of an item."""
        key = snapshot.facts.keys[row]
        image_id = ImageId(snapshot.name, key)
        alignment = float(snapshot.facts.numbers["alignment"][row])
        return {
            "image_url": self.image_url(snapshot, image_id, described),
            "image_id": str(image_id),
            "store": snapshot.name,
            "subset": key.subset,
            "id": key.id,
            "metadata": {
                "title": described.title,
                "captions": [caption.text for caption in described.captions],
                "labels": list(described.labels),
                "attributes": described.attributes,
                "tags": list(described.tags),
                "added": iso(described.added),
                "size": described.size,
                "alignment": None if alignment != alignment else round(alignment, 6),
            },
        }

    def image_url(self, snapshot: Snapshot, image_id: ImageId, described: Described) -> str | None:
        """Where an item's picture is to be had; None where the service cannot show it."""
        name = self._pictures.name(snapshot.path, described.media)
        return None if name is None else f"{self._base}/images/{image_id}/{_in_url(name)}"

    def thumbnail_url(self, image_id: ImageId) -> str:
        """Where an item's thumbnail is to be had."""
        return f"{self._base}/thumbnails/{image_id}"


def _caption(hit: Hit, described: Described) -> Json:
    """The caption that was found."""
    annotation = int(hit.snapshot.index.targets[CAPTIONS].annotations[hit.vector])
    text = next((caption.text for caption in described.captions if caption.annotation == annotation), None)
    return {"annotation": annotation, "text": text, "score": round(hit.score, 6)}


def _objects(hit: Hit, query: FloatArray, filters: Filters) -> list[Json]:
    """The item's objects that are what the filters ask for, the most similar first."""
    stored = hit.snapshot.record(hit.row).objects
    certain = [(each, 1.0 if each.confidence is None else each.confidence) for each in stored]
    wanted = [(each, certainty) for each, certainty in certain if filters.of_object(each.class_name, certainty)]
    found = []
    for each, certainty in wanted:
        score = float(exact_scores(query[None], each.vector[None])[0])
        found.append(
            {
                "annotation": each.annotation_index,
                "bbox": corners(*each.bbox),
                "class_name": each.class_name,
                "confidence": round(certainty, 6),
                "score": round(score, 6),
            }
        )
    return sorted(found, key=lambda entry: -entry["score"])


def object_json(found: Object) -> Json:
    """A box of a record."""
    x, y, width, height = found.bbox
    return {
        "annotation": found.annotation,
        "bbox": corners(x, y, x + width, y + height),
        "class_name": found.class_name,
        "confidence": found.certainty,
    }


def corners(x1: float, y1: float, x2: float, y2: float) -> Json:
    """A box as everything outside Datumaro has it: its corners, pixels of the stored picture."""
    return {name: round(value, 3) for name, value in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2))}


def plain(value: Any) -> Any:
    """A payload's value without the marks of its types, as far as people care: tuples and sets as lists."""
    if isinstance(value, Mapping):
        if value.get("$") in ("tuple", "set"):
            return [plain(one) for one in value.get("v", ())]
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def _in_url(name: str) -> str:
    """A file name as the last part of a URL."""
    quoted = quote(name.encode("utf-8", "surrogateescape"), safe="")
    return "picture" if quoted in (".", "..") else quoted
