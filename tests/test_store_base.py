"""Records as lines, one by one or many at a time."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.store.base import from_line, key_hash, to_line, to_lines
from datumaro_clip.vectors import ItemKey

# What could be taken for the end of a record or of a line, and what UTF-8 cannot encode.
AWKWARD = st.sampled_from(['"},{"', '"}', "\n", '\\"},{\\"', "\x00", "\ud800", "\u2028", ""])
TEXTS = st.lists(AWKWARD | st.text(max_size=8), max_size=4).map("".join)
KEYS = st.builds(ItemKey, TEXTS, TEXTS)


@given(st.lists(KEYS, max_size=6))
def test_many_keys_make_the_lines_that_each_makes(keys: list[ItemKey]) -> None:
    """An id that looks like the end of a record splits it in two."""
    lines = to_lines(keys)
    assert lines == b"".join(to_line(key, {}) for key in keys)
    assert [from_line(line)[0] for line in lines.splitlines()] == keys


@given(KEYS)
def test_a_keys_hash_is_what_the_format_says(key: ItemKey) -> None:
    assert key_hash(key) == zlib.crc32(f"{key.subset}\0{key.id}".encode("utf-8", "surrogatepass"))
