"""Items and hits as JSON answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from datumaro_clip.index import CAPTIONS, PICTURES
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
    """Writes items and hits for one request, with URLs that begin with its address.

    Parameters
    ----------
    base : str
        The service's own address, without a slash at its end.
    pictures : Pictures
    """

    def __init__(self, base: str, pictures: Pictures) -> None:
        self._base, self._pictures = base, pictures

    def hit(self, hit: Hit, query: FloatArray, target: str, filters: Filters, *, group: bool = True) -> Json:
        """Write a hit of a search for a vector."""
        described = hit.snapshot.described(hit.row)
        answer = self.item(hit.snapshot, hit.row, described)
        answer["score"] = round(hit.score, 6)
        if target == PICTURES:
            if filters.wants_objects:
                wanted = (each for each in described.objects if filters.of_object(each.class_name, each.certainty))
                answer["objects"] = [box_json(each) for each in wanted]
            return answer
        annotation = int(hit.snapshot.index.targets[target].annotations[hit.vector])
        if target == CAPTIONS:
            text = next((caption.text for caption in described.captions if caption.annotation == annotation), None)
            answer["caption"] = {"annotation": annotation, "text": text, "score": answer["score"]}
        elif group:
            answer["objects"] = _objects(hit, query, filters)
        else:
            answer |= next(each for each in _objects(hit, query, filters) if each["annotation"] == annotation)
        return answer

    def item(self, snapshot: Snapshot, row: int, described: Described) -> Json:
        """Write the fields that every answer has of an item."""
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
        """Return the URL of an item's picture; None where the service cannot show it."""
        name = self._pictures.name(snapshot.path, described.media)
        if name is None:
            return None
        quoted = quote(name.encode("utf-8", "surrogateescape"), safe="")
        return f"{self._base}/images/{image_id}/{'picture' if quoted in ('.', '..') else quoted}"

    def thumbnail_url(self, image_id: ImageId) -> str:
        """Return the URL of an item's thumbnail."""
        return f"{self._base}/thumbnails/{image_id}"


def _objects(hit: Hit, query: FloatArray, filters: Filters) -> list[Json]:
    """Write the item's objects that meet the filters, the most similar first."""
    found = []
    for each in hit.snapshot.reader.record(hit.row).objects:
        certainty = 1.0 if each.confidence is None else each.confidence
        if filters.of_object(each.class_name, certainty):
            score = float(exact_scores(query[None], each.vector[None])[0])
            told = object_json(each.annotation_index, each.bbox, each.class_name, round(certainty, 6))
            found.append({**told, "score": round(score, 6)})
    return sorted(found, key=lambda entry: -entry["score"])


def box_json(box: Object) -> Json:
    """Write a box of a record."""
    x, y, width, height = box.bbox
    return object_json(box.annotation, (x, y, x + width, y + height), box.class_name, box.certainty)


def object_json(
    annotation: int, corners: tuple[float, float, float, float], class_name: str, confidence: float
) -> Json:
    """Write an object; its box (x1, y1, x2, y2) is in pixels of the stored picture."""
    bbox = {name: round(value, 3) for name, value in zip(("x1", "y1", "x2", "y2"), corners, strict=True)}
    return {"annotation": annotation, "bbox": bbox, "class_name": class_name, "confidence": confidence}


def plain(value: Any) -> Any:
    """Return a payload's value without the marks of its types: tuples and sets become lists."""
    if isinstance(value, Mapping):
        if value.get("$") in ("tuple", "set"):
            return [plain(one) for one in value.get("v", ())]
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
