"""An image_id stands for one item, in any URL."""

from __future__ import annotations

from urllib.parse import quote, urljoin

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import STRANGE_IDS

from datumaro_clip.errors import OptionError
from datumaro_clip.service.names import ImageId
from datumaro_clip.vectors import ItemKey

# Names of files that are no UTF-8 come as lone surrogates.
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(STRANGE_IDS)


@given(TEXTS, TEXTS, TEXTS)
def test_what_is_written_is_read_again(store: str, subset: str, id: str):
    image_id = ImageId(store, ItemKey(id, subset))
    assert ImageId.parse(str(image_id)) == image_id


@given(TEXTS, TEXTS)
def test_no_client_rewrites_it_in_a_path(subset: str, id: str):
    text = str(ImageId("s", ItemKey(id, subset)))
    assert quote(text) == text.replace("~", quote("~"))
    assert urljoin("http://h/images/", text) == f"http://h/images/{text}"
    assert httpx.URL(f"http://h/images/{text}/a.jpg").raw_path == f"/images/{text}/a.jpg".encode()


@pytest.mark.parametrize(
    "text", ["", "a", "a/b", "a/b/c/d", "a/b/", "a/b/%41", "a/b/~4", "a/b/~ff", "a/b/~FF", "a/b/é"]
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(OptionError, match="image_id"):
        ImageId.parse(text)
