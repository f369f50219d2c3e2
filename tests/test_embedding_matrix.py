"""Every way from a picture to a vector gives the same bits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image as DatumaroImage
from PIL import Image

import datumaro_clip
from datumaro_clip import cli
from datumaro_clip.demo.catalogue.painting import draw_item
from datumaro_clip.demo.catalogue.spec import sample_spec
from datumaro_clip.embedding import embed, embed_texts
from datumaro_clip.errors import OptionError, TextError
from datumaro_clip.search import SearchIndex
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import is_unit_rows

PHOTOS = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEGs so large that they are decoded scaled."""
    folder = tmp_path_factory.mktemp("photos")
    chance = random.Random(5)
    paths = [folder / f"{index}.jpg" for index in range(PHOTOS)]
    for index, path in enumerate(paths):
        size = ((1200, 900), (900, 1300), (2000, 500))[index % 3]
        draw_item(sample_spec(chance), size).save(path, quality=92)
    return paths


def test_transform_python_and_query_give_equal_bits(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that is decoded otherwise than the dataset was does not find its own picture first."""
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache of the transform"))
    items = [DatasetItem(path.stem, media=DatumaroImage.from_file(path=str(path))) for path in photos]
    dataset = Dataset.from_iterable(items, media_type=DatumaroImage)
    store = str(tmp_path / "store")
    dataset.transform("clip_embed", model="tiny", store=store)
    by_transform = {item.id: np.asarray(item.attributes["clip_embedding"]) for item in dataset}

    by_python, errors = datumaro_clip.embed(photos, model="tiny", cache="off")
    assert errors == {}
    by_encoder = datumaro_clip.load_model("tiny").embed_images(photos)
    by_query = []
    search = SearchIndex.search
    monkeypatch.setattr(
        SearchIndex,
        "search",
        lambda self, queries, *args, **options: (
            by_query.append(np.atleast_2d(queries)[0]) or search(self, queries, *args, **options)
        ),
    )
    for path in photos[:6]:
        assert cli.main(["search", store, "--image", str(path), "-k", "1"]) == 0

    for index, path in enumerate(photos):
        np.testing.assert_array_equal(by_python[index], by_transform[path.stem])
        np.testing.assert_array_equal(by_encoder[index], by_transform[path.stem])
    np.testing.assert_array_equal(by_query, by_python[:6])


def test_large_photos_are_not_decoded_whole(photos: list[Path]) -> None:
    """Four times the time for pictures of a query, and other vectors than the dataset's."""
    encoder = FakeEncoder()
    whole, _ = embed(photos[:3], encoder, cache="off", exact_decode=True)
    scaled, _ = embed(photos[:3], encoder, cache="off")
    assert not np.array_equal(whole, scaled)
    np.testing.assert_array_equal(scaled, encoder.embed_images(photos[:3]))


def test_no_pictures_are_an_empty_matrix() -> None:
    vectors, errors = embed([], FakeEncoder(), cache="off")
    assert vectors.shape == (0, 64)
    assert errors == {}


def test_a_picture_that_fails_leaves_a_row_that_is_no_vector(tmp_path: Path) -> None:
    """With a row of zeros, or a row less, a picture would get another picture's vector."""
    good = Image.new("RGB", (9, 9), (200, 10, 10))
    vectors, errors = embed([good, tmp_path / "gone.jpg", b"", good], FakeEncoder(), cache="off")
    assert {row: error.reason for row, error in errors.items()} == {1: "missing", 2: "empty"}
    assert np.isnan(vectors[[1, 2]]).all()
    assert is_unit_rows(vectors[[0, 3]])


def test_the_cache_is_that_of_the_transform(photos: list[Path], tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first, _ = embed(photos, encoder, cache=tmp_path)
    again, _ = embed(photos, encoder, cache=tmp_path)
    assert encoder.pictures_computed == PHOTOS
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    "single", ["a.jpg", Path("a.jpg"), b"\xff\xd8", Image.new("RGB", (4, 4)), np.zeros((4, 4, 3), np.uint8)]
)
def test_a_single_picture_is_refused(single: Any) -> None:
    """A path would be as many pictures as it has letters, an array as many as it has rows."""
    with pytest.raises(OptionError, match="put it in a list"):
        embed(single, FakeEncoder())


def test_an_array_of_pictures_is_taken() -> None:
    vectors, errors = embed(np.zeros((3, 8, 8, 3), np.uint8), FakeEncoder(), cache="off")
    assert vectors.shape == (3, 64)
    assert errors == {}


def test_texts_are_embedded_by_the_models_name() -> None:
    rows = datumaro_clip.embed_texts(["a red hat", "a blue hat"], "tiny")
    np.testing.assert_array_equal(rows, embed_texts(["a red hat", "a blue hat"], datumaro_clip.load_model("tiny")))
    with pytest.raises(TextError, match="put it in a list"):
        datumaro_clip.embed_texts("a red hat", "tiny")


def test_the_package_shows_what_it_offers() -> None:
    assert {"embed", "embed_texts", "load_model", "open_store"} <= set(dir(datumaro_clip))
    assert callable(datumaro_clip.embed)
