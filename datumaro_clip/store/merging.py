"""Stores made one: whole segments are taken over, so that no vector is copied twice or computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from datumaro_clip.errors import OptionError, StoreWriteError
from datumaro_clip.store.base import Header
from datumaro_clip.store.hashes import HashIndex
from datumaro_clip.store.reader import StoreReader
from datumaro_clip.vectors import ItemKey

OnRepeat = Literal["refuse", "first", "last"]


class Merged(NamedTuple):
    """What a merge did: stores that went in, items that came out, and items left out for another of their key."""

    stores: int
    items: int
    left_out: int


def merged_header(stores: Sequence[StoreReader]) -> Header:
    """The header of a store that is to adopt others; what computed the vectors is said when they come.

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
    """The rows of each store to leave out, so that each key stays once.

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
    rows_by_key: dict[ItemKey, list[tuple[int, int]]] = defaultdict(list)
    for row in HashIndex(hashes, np.arange(len(hashes))).repeated().tolist():
        index = int(np.searchsorted(starts, row, side="right")) - 1
        rows_by_key[stores[index].key(row - int(starts[index]))].append((index, row - int(starts[index])))
    repeated = {key: places for key, places in rows_by_key.items() if len(places) > 1}
    if repeated and on_repeat == "refuse":
        key, (one, other, *_) = next(iter(repeated.items()))
        raise StoreWriteError(
            f"{len(repeated)} items are in several stores, as {key} in {stores[one[0]].path} and "
            f"{stores[other[0]].path}; say which stay with --on-repeat first or last"
        )
    left_out: list[list[int]] = [[] for _ in stores]
    for places in repeated.values():
        for index, row in places[1:] if on_repeat == "first" else places[:-1]:
            left_out[index].append(row)
    return left_out
