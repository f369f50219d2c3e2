"""Pictures in notebooks: words stay words, what cannot be shown says why, many are counted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from datumaro_clip.images.gallery import MOST, Tile, gallery


def picture() -> np.ndarray:
    return np.full((30, 40, 3), 90, np.uint8)


def test_nothing_is_a_title_alone():
    assert "<ul" not in gallery("0 hits", [], 0)
    assert "0 hits" in gallery("0 hits", [], 0)


def test_words_are_no_markup():
    shown = gallery("<h1>", [Tile("<img src=x onerror=y>", '"><script>', picture)], 1)
    assert len(re.findall(r"<img ", shown)) == 1
    assert "<h1>" not in shown
    assert "<script>" not in shown
    assert 'src="data:image/webp;base64,' in shown


def test_of_a_long_name_the_end_is_shown_and_all_is_at_hand():
    shown = gallery("one", [Tile("a/long/way/to/picture-7.jpg")], 1)
    assert ">…picture-7.jpg<" in shown
    assert 'title="a/long/way/to/picture-7.jpg"' in shown


def test_of_many_the_first_are_drawn_and_no_other_is_read():
    def unread() -> np.ndarray:
        raise AssertionError("not asked for")

    tiles = (Tile(str(n), "", picture if n < MOST else unread) for n in range(1000))
    shown = gallery("many", tiles, 1000)
    assert shown.count("<li>") == MOST
    assert f"and {1000 - MOST} more" in shown


@pytest.mark.parametrize(("source", "said"), [(None, "no picture"), (lambda: b"no picture at all", "unreadable")])
def test_what_cannot_be_shown_says_why(source: object, said: str):
    assert said in gallery("one", [Tile("a", "", source)], 1)  # type: ignore[arg-type]


def test_colours_are_the_notebooks_own():
    """A colour of ours would be wrong in the light or in the dark."""
    style = re.search(r"<style>(.*?)</style>", gallery("x", [], 0), re.S)
    assert style is not None
    assert not re.search(r"#[0-9a-f]{3}|rgb\(|\bblack|\bwhite(?!-)", style[1])
