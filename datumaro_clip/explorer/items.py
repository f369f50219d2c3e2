"""A store's items as curation takes them: vectors from the store, pictures read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from datumaro_clip.curate.item import Item, ItemBox, ItemCaption, ItemLabel
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.service.described import class_of, describe
from datumaro_clip.service.pictures import NotServedError, Pictures
from datumaro_clip.store import StoreReader
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding


def store_items(store: StoreReader, rows: Iterable[int], pictures: Pictures) -> list[Item]:
    """The items of some rows of a store.

    Parameters
    ----------
    store : StoreReader
    rows : iterable of int
    pictures : Pictures
        Says which pictures may be read; an item of which none may be has no picture.
    """
    names, space = store.header.class_names, store.header.space
    found = []
    for row in rows:
        record = store.record(row)
        told = describe(record.payload, names)
        boxes = {each.annotation for each in told.objects}
        classes = [(number, class_of(annotation, names)) for number, annotation in enumerate(told.annotations)]
        attributes = dict(told.attributes)
        if record.embedding is not None and space is not None:
            vector = np.asarray(record.embedding, np.float32)
            attributes[EMBEDDING_ATTRIBUTE] = Embedding(vector, space.fingerprint, space.model, store.header.precision)
        try:
            picture = ImageRequest(pictures.find(store.path, told.media).content)
        except NotServedError:
            picture = None
        found.append(
            Item(
                record.key,
                picture,
                tuple(ItemLabel(name, number, number not in boxes) for number, name in classes if name is not None),
                tuple(ItemCaption(each.text, each.annotation) for each in told.captions),
                tuple(
                    ItemBox(each.bbox, each.class_name or None, each.confidence, each.annotation)
                    for each in told.objects
                ),
                attributes,
                str(told.media.get("path", "")),
                len(told.annotations),
            )
        )
    return found
