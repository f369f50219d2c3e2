"""Two parts of a dataset: whole groups of copies on one side, the share kept, the same seed the same parts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.curate.item import Item
from datumaro_clip.curate.split import copy_groups, split_groups
from datumaro_clip.errors import OptionError
from datumaro_clip.functions.curation import find_duplicates


def test_nothing_has_no_parts():
    assert split_groups(np.array([], np.int64), 0.5).tolist() == []
    assert copy_groups([]).tolist() == []


@given(st.lists(st.integers(0, 8), max_size=40), st.floats(0.01, 0.99), st.integers(0, 5))
def test_groups_stay_whole_and_the_share_is_kept(groups: list[int], share: float, seed: int):
    found = split_groups(np.array(groups, np.int64), share, seed)
    sides = {(group, bool(side)) for group, side in zip(groups, found, strict=True)}
    assert len(sides) == len(set(groups))
    missing = round(share * len(groups)) - int(found.sum())
    assert missing >= 0
    left = [groups.count(group) for group, chosen in sides if not chosen]
    assert all(size > missing for size in left)
    assert found.tolist() == split_groups(np.array(groups, np.int64), share, seed).tolist()


def test_another_seed_makes_other_parts():
    groups = np.arange(50)
    assert split_groups(groups, 0.5, 1).tolist() != split_groups(groups, 0.5, 2).tolist()


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(OptionError, match="above 0 and below 1"):
        split_groups(np.arange(3), share)


def encoded(picture: Image.Image, form: str, **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def test_drawn_copies_are_one_group_and_what_is_no_picture_is_its_own():
    """The same bytes, the same pixels in another file, and the picture encoded anew and smaller."""
    coarse = [np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8) for seed in range(2)]
    one, other = (Image.fromarray(each).resize((240, 180), Image.Resampling.BICUBIC) for each in coarse)
    files = [
        *(encoded(one, "PNG"), encoded(other, "PNG"), encoded(one, "PNG"), encoded(one, "BMP")),
        *(encoded(one, "JPEG", quality=70), encoded(one.resize((120, 90)), "PNG"), b"no picture"),
    ]
    items = [Item.of(str(number), file) for number, file in enumerate([*files, None, None])]
    assert copy_groups(items).tolist() == [0, 1, 0, 0, 0, 0, 6, 7, 8]
    assert copy_groups(items, near=False).tolist() == [0, 1, 0, 0, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("names", [["31466", "31467"], ["55988", "55968", "55990", "56005"]])
def test_what_the_duplicates_say_in_either_order_is_one_group(shared: Path, names: list[str]):
    """The first is a copy of the other only where it comes second; of the four, full pictures decide."""
    items = {name: Item.of(name, shared / "data" / "products" / "images" / f"{name}.jpg") for name in names}
    found = {
        frozenset([group.keeper.id, *(one.key.id for one in group.members)])
        for order in (names, names[::-1])
        for group in find_duplicates([items[name] for name in order], no_vectors=True)
    }
    assert found
    for order in (names, names[::-1]):
        number = dict(zip(order, copy_groups([items[name] for name in order]).tolist(), strict=True))
        assert [len({number[name] for name in group}) for group in found] == [1] * len(found)
