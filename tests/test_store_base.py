"""Records as lines, one by one or many at a time."""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.store.base import (
    CaptionVector,
    Header,
    ObjectVector,
    from_line,
    key_hash,
    key_hashes,
    subset_runs,
    tags_of,
    to_line,
    to_lines,
)
from datumaro_clip.store.manifest import Manifest
from datumaro_clip.store.reader import _told_size
from datumaro_clip.vectors import ItemKey

# What could be taken for the end of an id, a record or a line, and what UTF-8 cannot encode.
AWKWARD = st.sampled_from(['","', '",', ',"', '"},{', '"}', "\n", "\\", '\\"},{\\"', "\x00", "\ud800", "\u2028", ""])
TEXTS = st.lists(AWKWARD | st.text(max_size=8), max_size=4).map("".join)


@pytest.mark.parametrize(
    ("categories", "names"),
    [({}, []), ({"label": {}}, []), ({"label": {"items": [["cat", "animal"], ["dog"]]}}, ["cat", "dog"])],
)
def test_class_names_are_those_of_the_label_categories(categories: dict[str, Any], names: list[str]) -> None:
    assert Header(space=None, categories=categories).class_names == names


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (None, []),
        ({}, []),
        ("", []),
        (" a, b ,,c", ["a", "b", "c"]),
        (["a", 2, None, ["b"]], ["a", "2"]),
        ({"v": ["a"]}, ["a"]),
        (7, []),
    ],
)
def test_tags_are_a_list_or_a_text_with_commas(value: object, tags: list[str]) -> None:
    assert tags_of(value) == tags


@given(TEXTS, st.lists(TEXTS, max_size=6))
def test_many_ids_make_the_lines_that_each_makes(subset: str, ids: list[str]) -> None:
    """An id that looks like the end of a record would split the record in two."""
    keys = [ItemKey(id, subset) for id in ids]
    lines = to_lines(subset, ids)
    assert lines == b"".join(to_line(key, {}) for key in keys)
    assert [from_line(line)[0] for line in lines.splitlines()] == keys


@pytest.mark.parametrize("id", ['x"},{', 'x",', "x\\", '","', ""])
def test_an_id_that_ends_like_a_record_stays_one_id(id: str) -> None:
    """With the closing quote after it, the id ends in the bytes that separate two records."""
    lines = to_lines("train", [id, "b"])
    assert [from_line(line)[0].id for line in lines.splitlines()] == [id, "b"]


@given(TEXTS, st.lists(TEXTS, max_size=6))
def test_a_keys_hash_is_what_the_format_says(subset: str, ids: list[str]) -> None:
    wanted = [zlib.crc32(f"{subset}\0{id}".encode("utf-8", "surrogatepass")) for id in ids]
    assert key_hashes(subset, ids) == wanted
    assert [key_hash(ItemKey(id, subset)) for id in ids] == wanted


@given(st.lists(st.builds(ItemKey, st.text(max_size=2), st.sampled_from(["train", "val", ""])), max_size=8))
def test_runs_are_the_keys_in_their_order(keys: list[ItemKey]) -> None:
    runs = subset_runs(keys)
    assert [ItemKey(id, subset) for subset, ids in runs for id in ids] == keys
    assert all(one[0] != other[0] for one, other in pairwise(runs))


def test_vectors_of_parts_are_told_apart_as_things_that_hold_arrays_must_be() -> None:
    """They compare by identity, because comparing their arrays gives arrays."""
    one, other = (CaptionVector(0, np.ones(2, np.float32)) for _ in range(2))
    assert one in {one}
    assert one != other
    one, other = (ObjectVector(0, np.ones(2, np.float32), (0, 0, 1, 1)) for _ in range(2))
    assert one in {one}
    assert one != other


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (5 * 10**9, "5 GB")],
)
def test_sizes_are_told_in_the_unit_that_fits(size: int, told: str, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    assert _told_size(tmp_path) == told


def test_a_new_manifest_counts_nothing() -> None:
    new = Manifest("clip_mmap", Header(space=None))
    assert (new.items, new.embeddings, new.captions, new.objects) == (0, 0, 0, 0)
