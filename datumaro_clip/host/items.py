"""Turns Datumaro's items into the neutral ones that everything else works on; no other module makes them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from datumaro.components.annotation import AnnotationType, Caption, Label, LabelCategories
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, ImageFromBytes, ImageFromFile, RoIImage, VideoFrame

from datumaro_clip.curate.item import Item, ItemCaption, ItemLabel
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.objects import class_of, objects_of
from datumaro_clip.host.repairs import link_out_of_folder
from datumaro_clip.vectors import ItemKey


def key_of(item: DatasetItem) -> ItemKey:
    """Return an item's id and subset."""
    return ItemKey(str(item.id), str(item.subset))


def neutral(item: DatasetItem, classes: list[str]) -> Item:
    """Return an item as a neutral one, which keeps it as its ``origin``; no picture is read.

    Parameters
    ----------
    item : DatasetItem
    classes : list of str
        The dataset's, as :func:`label_names` gives them.
    """
    labels, captions = [], []
    for index, note in enumerate(item.annotations):
        if isinstance(note, Caption):
            captions.append(ItemCaption(note.caption, index))
        name = class_of(note, classes)
        if name is not None:
            labels.append(ItemLabel(name, index, isinstance(note, Label)))
    media, size = item.media, None
    # The size that the dataset says; the picture is not opened for it.
    if isinstance(media, Image) and not isinstance(media, RoIImage | VideoFrame) and media._size is not None:
        height, width = map(int, media._size)
        size = (width, height) if min(height, width) > 0 else None
    return Item(
        key_of(item),
        partial(image_request, item) if has_picture(item) else None,
        tuple(labels),
        tuple(captions),
        tuple(objects_of(item, classes)),
        item.attributes,
        str(getattr(media, "path", "") or ""),
        len(item.annotations),
        size,
        item,
    )


def has_picture(item: DatasetItem) -> bool:
    """Whether an item's media is one picture; point clouds, videos, tables and empty media are not."""
    return isinstance(item.media, Image)


def image_request(item: DatasetItem) -> ImageRequest:
    """Ask for an item's whole picture.

    Files and encoded bytes are passed on undecoded. Anything else is Datumaro's array, turned from BGR to RGB in a
    worker; a video's frames are read here and now, since one reader reads them in their order.
    """
    media = item.media
    pixels = partial(_pixels, media)
    if isinstance(media, VideoFrame):
        try:
            return ImageRequest(ImageRequest(pixels).fetch())
        except ImageError as exc:
            return ImageRequest.failing(exc)
    if type(media) is ImageFromFile:
        if link := link_out_of_folder(media.path):
            problem = f"{link}: it leads out of the dataset's folder and is not followed; put the picture itself there"
            return ImageRequest.failing(ImageError("outside", problem))
        return ImageRequest(media.path)
    if isinstance(media, ImageFromBytes):
        return ImageRequest(lambda: pixels() if (data := media.bytes) is None else data)
    return ImageRequest(pixels)


def _pixels(media: Image) -> npt.NDArray[np.uint8]:
    """Return Datumaro's array as RGB or RGBA, uint8."""
    data = media.data
    if data is None:
        raise ImageError("missing", f"{media!r} holds no picture; check where its data should come from")
    data = np.asarray(data)
    if data.ndim == 3 and data.shape[2] in (3, 4):
        data = data[..., [2, 1, 0, *range(3, data.shape[2])]]
    return np.ascontiguousarray(data)


def label_names(categories: Any) -> list[str]:
    """Return the names of a dataset's labels, in their order; ``categories`` may be None, as an empty dataset's are."""
    found = (categories or {}).get(AnnotationType.label)
    return [] if found is None else [category.name for category in found.items]


def with_labels(categories: Any, names: Iterable[str]) -> dict[Any, Any]:
    """Return a copy of the categories with the labels that they lack added at the end; the others stay as they are."""
    known = dict(categories or {})
    there = label_names(known)
    if missing := [name for name in dict.fromkeys(names) if name not in there]:
        known[AnnotationType.label] = labels = deepcopy(known.get(AnnotationType.label, LabelCategories()))
        for name in missing:
            labels.add(name)
    return known
