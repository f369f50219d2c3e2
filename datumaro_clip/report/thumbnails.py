"""The small pictures of a report, each no larger than its share of the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from datumaro_clip.curate.item import Item
from datumaro_clip.curate.near.threads import workers
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.images.small import LARGEST_SIDE, enlarged, small_picture
from datumaro_clip.report.plan import Subject, numbered
from datumaro_clip.vectors import ItemKey


def thumbnails_of(
    items: Iterable[Item], wanted: Mapping[Subject, int]
) -> tuple[dict[Subject, bytes], dict[Subject, str]]:
    """Make small WebP pictures of subjects, with an object's box drawn, or a place enlarged.

    Parameters
    ----------
    items : iterable of Item
    wanted : mapping
        The most bytes of a picture, by its subject.

    Returns
    -------
    pictures : dict
        By subject.
    failures : dict
        A sentence why there is none, by subject.
    """
    parts: dict[tuple[ItemKey, int], list[Subject]] = defaultdict(list)
    for subject in wanted:
        parts[subject.key, subject.occurrence].append(subject)
    asked = {item: subjects for place, item in numbered(items) if (subjects := parts.get(place))}

    def look(task: tuple[Item, ImageRequest]) -> dict[Subject, bytes] | str:
        item, request = task
        try:
            return dict(_small_pictures(item, request, {subject: wanted[subject] for subject in asked[item]}))
        except ImageError as exc:
            return str(exc)

    pictures: dict[Subject, bytes] = {}
    failures: dict[Subject, str] = {}
    with workers() as pool:
        # Pictures are requested in order: a video has one reader.
        for item, made in zip(asked, pool.map(look, ((item, item.request()) for item in asked)), strict=True):
            if isinstance(made, str):
                failures |= dict.fromkeys(asked[item], made)
            else:
                pictures |= made
    return pictures, failures


def _small_pictures(
    item: Item, request: ImageRequest, wanted: Mapping[Subject, int]
) -> Iterator[tuple[Subject, bytes]]:
    boxes = {box.annotation: box.bbox for box in item.boxes}
    # A caption shows its item's picture, which the page then holds once.
    whole = [subject for subject in wanted if not isinstance(subject.part, tuple) and subject.part not in boxes]
    # To draw a box or cut out a place, the picture is decoded at full size.
    picture = decode(request.fetch(), target=LARGEST_SIDE if len(whole) == len(wanted) else None)
    if whole:
        limit = max(wanted[subject] for subject in whole)
        yield from dict.fromkeys(whole, small_picture(picture, limit=limit)).items()
    for subject, limit in wanted.items():
        if isinstance(subject.part, tuple):
            yield subject, enlarged(picture, subject.part, limit)
        elif subject.part in boxes:
            yield subject, small_picture(picture, [boxes[subject.part]], limit)
