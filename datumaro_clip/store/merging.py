"""What merging stores needs to know first: the header of the merged store, and the rows that repeat others' keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from datumaro_clip.errors import OptionError, StoreWriteError
from datumaro_clip.store.base import Header
from datumaro_clip.store.hashes import locate, repeated_keys
from datumaro_clip.store.reader import StoreReader
from datumaro_clip.vectors import ItemKey

OnRepeat = Literal["refuse", "first", "last"]


class Merged(NamedTuple):
    """Counts of a merge: stores merged, items of the result, and items left out because another has their key."""

    stores: int
    items: int
    left_out: int


def merged_header(stores: Sequence[StoreReader]) -> Header:
    """Make the header of a store that will adopt others, which will declare what computed their vectors.

    Raises
    ------
    OptionError
        If there is no store.
    StoreWriteError
        If their categories differ; names the first two that do.
    """
    if not stores:
        raise OptionError("name at least one store to merge")
    first = stores[0]
    for other in stores[1:]:
        if other.header.categories != first.header.categories:
            raise StoreWriteError(
                f"{other.path} has other categories than {first.path}; make them alike first, as with clip_labels"
            )
    infos = {name: value for store in reversed(stores) for name, value in store.header.infos.items()}
    with_vectors = next((store for store in stores if store.header.space is not None), first)
    return replace(
        first.header, space=None, precision="unknown", device="unknown", dtype=with_vectors.header.dtype, infos=infos
    )


def repeated_rows(stores: Sequence[StoreReader], on_repeat: OnRepeat) -> list[list[int]]:
    """Return the rows of each store to leave out, so that each key stays once.

    Parameters
    ----------
    stores : sequence of StoreReader
    on_repeat : str
        Which of the items that share a key stays: the ``first``, the ``last``, or ``refuse``.

    Raises
    ------
    StoreWriteError
        With ``refuse``, if two items share a key.
    """
    starts = np.cumsum([0, *map(len, stores)])
    hashes = np.concatenate([np.zeros(0, np.uint32), *(store.key_hashes for store in stores)])

    def key_of(row: int) -> ItemKey:
        index, local = locate(starts, row)
        return stores[index].key(local)

    repeated = repeated_keys(hashes, key_of)
    if repeated and on_repeat == "refuse":
        key, rows = next(iter(repeated.items()))
        one, other = (stores[locate(starts, row)[0]].path for row in rows[:2])
        raise StoreWriteError(
            f"{len(repeated)} items are in several stores, as {key} in {one} and {other}; "
            "say which stay with --on-repeat first or last"
        )
    left_out: list[list[int]] = [[] for _ in stores]
    for rows in repeated.values():
        for row in rows[1:] if on_repeat == "first" else rows[:-1]:
            index, local = locate(starts, row)
            left_out[index].append(local)
    return left_out
