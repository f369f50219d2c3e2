"""Parts of pictures: decoded once, in order, each with the vector of its own part."""

from __future__ import annotations

import gc
import weakref
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.embedding import ImageRequest, PartsRequest, embed_images, embed_parts
from datumaro_clip.embedding import requests as requests_module
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import InferenceError
from datumaro_clip.images import Region
from datumaro_clip.objects.detections import Detections
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import FloatArray


def noise(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def boxes(count: int, seed: int = 0, side: int = 64) -> list[Region]:
    corners = np.random.default_rng(seed).integers(0, side - 9, (count, 2))
    return [Region((float(x), float(y), 8.0, 8.0)) for x, y in corners]


def own_vectors(pixels: np.ndarray, parts: list[Region | None]) -> FloatArray:
    """Embed each part alone."""
    whole = Image.fromarray(pixels)
    return FakeEncoder().embed_images([whole if part is None else part.cut_from(whole) for part in parts])


@settings(max_examples=40)
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 40), st.booleans())
def test_results_come_in_order_however_many_parts_pictures_have(counts: list[int], batch_size: int, with_whole: bool):
    asked = [([None] if with_whole else []) + boxes(count, n) for n, count in enumerate(counts)]
    requests = [PartsRequest(ImageRequest(noise(n)), parts) for n, parts in enumerate(asked)]
    results = list(embed_parts(requests, FakeEncoder(), batch_size=batch_size))
    assert [len(found.results) for found in results] == [len(parts) for parts in asked]
    for n, (found, parts) in enumerate(zip(results, asked, strict=True)):
        expected = own_vectors(noise(n), parts)
        np.testing.assert_allclose([part.vector for part in found.results] or expected, expected, atol=1e-6)


def test_a_picture_is_decoded_once_for_all_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(noise(1)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", counted(Image.open, calls := []))
    request = PartsRequest(ImageRequest(tmp_path / "a.png"), [None, *boxes(500)])
    [found] = embed_parts([request], FakeEncoder())
    assert len(found.results) == 501
    assert len(calls) == 1


def counted(function, calls: list[object]):
    """Wrap the function, to note its calls."""
    return lambda *args, **kwargs: calls.append(args) or function(*args, **kwargs)


def test_second_run_decodes_and_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(noise(1)).save(tmp_path / "a.png")
    requests = [PartsRequest(ImageRequest(tmp_path / "a.png"), [None, *boxes(40)])]
    encoder = FakeEncoder()
    with VectorCache(tmp_path / "cache") as cache:
        [first] = embed_parts(requests, encoder, cache=cache)
        monkeypatch.setattr(requests_module, "decode", None)
        monkeypatch.setattr(requests_module, "decoded", None)
        computed = encoder.pictures_computed
        [second] = embed_parts(requests, encoder, cache=cache)
    assert encoder.pictures_computed == computed
    assert {part.source for part in second.results} == {"cache"}
    assert [part.origin for part in second.results] == [part.origin for part in first.results]
    np.testing.assert_array_equal([part.vector for part in second.results], [part.vector for part in first.results])


def test_a_part_that_cannot_be_cut_leaves_the_others(tmp_path: Path):
    parts = [None, Region((0, 0, 8, 8)), Region((900, 0, 8, 8)), Region((0, 0, float("nan"), 8))]
    requests = [PartsRequest(ImageRequest(noise(1)), parts), PartsRequest(ImageRequest(tmp_path / "gone.png"), parts)]
    with VectorCache(tmp_path / "cache") as cache:
        first, second = embed_parts(requests, FakeEncoder(), cache=cache)
    assert [part.source for part in first.results] == ["computed", "computed", "failed", "failed"]
    assert [part.error and part.error.reason for part in second.results] == ["missing"] * 4


@pytest.mark.parametrize("cached", [True, False])
def test_boxes_of_a_picture_of_another_size_are_refused_and_the_whole_is_not(cached: bool, tmp_path: Path):
    request = PartsRequest(ImageRequest(noise(1)), [None, *boxes(2)], size=(64, 32))
    with VectorCache(tmp_path / "cache") as cache:
        [found] = embed_parts([request], FakeEncoder(), cache=cache if cached else None)
    assert [part.source for part in found.results] == ["computed", "failed", "failed"]
    np.testing.assert_array_equal(found.results[0].vector, own_vectors(noise(1), [None])[0])
    assert all("64x32" in str(part.error) for part in found.results[1:])


def test_a_picture_that_cannot_be_had_is_asked_for_once():
    asked: list[int] = []

    def picture() -> np.ndarray:
        asked.append(1)
        raise ValueError("the reader is gone")

    [found] = embed_parts([PartsRequest(ImageRequest(picture), [None, *boxes(40)])], FakeEncoder())
    assert {part.error.reason for part in found.results if part.error} == {"unreadable"}
    assert len(asked) == 1


def test_decoded_pictures_are_let_go_before_many_others_are_decoded():
    """Pictures of many parts stay decoded until their last part is cut, and no longer."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def picture(seed: int) -> np.ndarray:
        nonlocal most
        made = noise(seed)
        alive.append(weakref.ref(made))
        most = max(most, sum(each() is not None for each in alive))
        return made

    requests = (PartsRequest(ImageRequest(lambda n=n: picture(n)), boxes(100, n)) for n in range(30))
    for _ in embed_parts(requests, FakeEncoder(), batch_size=16, threads=2):
        pass
    gc.collect()
    assert sum(each() is not None for each in alive) == 0
    assert most <= 6


# Objects that are found on the way


def finder(count: int):
    """Make a detector that finds so many boxes in every picture."""

    def find(picture: Image.Image) -> Detections:
        corners = np.arange(count, dtype=np.float32)[:, None] + np.array([0, 0, 8, 8], np.float32)
        return Detections(corners, np.full(count, 0.5, np.float32), np.zeros(count, np.int64))

    return find


@pytest.mark.parametrize("count", [0, 3, 50])
@pytest.mark.parametrize("parts", [[], [None]])
def test_objects_that_are_found_are_embedded_behind_what_was_asked_for(count: int, parts: list[None]):
    request = PartsRequest(ImageRequest(noise(1)), parts, finder(count))
    results = list(embed_parts([request] * 3, FakeEncoder()))
    expected = own_vectors(noise(1), [*parts, *(Region((float(n), float(n), 8, 8)) for n in range(count))])
    for found in results:
        assert found.found is not None
        assert len(found.found) == count
        np.testing.assert_allclose([part.vector for part in found.results] or expected, expected, atol=1e-6)


def test_objects_are_found_in_a_picture_of_another_size_than_its_boxes_are_about():
    """Found objects are right in any picture; only the boxes that were asked for depend on its size."""
    request = PartsRequest(ImageRequest(noise(1)), boxes(2), finder(3), size=(64, 32))
    [found] = embed_parts([request], FakeEncoder())
    assert [part.source for part in found.results] == ["failed"] * 2 + ["computed"] * 3


def test_a_detector_that_fails_on_a_picture_is_that_pictures_error():
    def find(picture: Image.Image) -> Detections:
        raise InferenceError("out of memory")

    requests = [PartsRequest(ImageRequest(noise(1)), [None], find), PartsRequest(ImageRequest(noise(1)), [None])]
    first, second = embed_parts(requests, FakeEncoder())
    assert first.results[0].error is not None
    assert str(first.results[0].error) == "the detector fails on this picture: out of memory"
    assert first.found is None
    assert second.results[0].vector is not None


# A vector belongs to exactly its picture and box

edits = st.lists(st.tuples(st.sampled_from(["picture", "box", "margin", "undo"]), st.integers(0, 3)), max_size=8)


@settings(max_examples=40)
@given(edits)
def test_a_vector_is_reused_if_and_only_if_picture_and_box_are_the_same(tmp_path_factory, changes):
    """After any edits, the cache gives the vector that computing gives, and only for what was seen before."""
    state = {"picture": 0, "box": 0, "margin": 0}
    seen: set[tuple[int, ...]] = set()
    origins: dict[tuple[int, ...], str] = {}
    with VectorCache(tmp_path_factory.mktemp("cache")) as cache:
        for what, value in [("undo", 0), *changes]:
            state = {"picture": 0, "box": 0, "margin": 0} if what == "undo" else {**state, what: value}
            part = Region((float(state["box"]), 3.0, 20.0, 20.0), margin=state["margin"] / 10)
            request = PartsRequest(ImageRequest(noise(state["picture"])), [part])
            [found] = embed_parts([request], FakeEncoder(), cache=cache)
            [result] = found.results
            now = tuple(state.values())
            assert result.source == ("cache" if now in seen else "computed")
            expected = own_vectors(noise(state["picture"]), [part])[0]
            np.testing.assert_allclose(result.vector, expected, atol=1e-6)
            assert origins.setdefault(now, result.origin) == result.origin
            seen.add(now)
    assert len(set(origins.values())) == len(origins)


def test_a_box_alone_and_among_others_has_one_vector():
    part = boxes(1)[0]
    [alone] = embed_images([ImageRequest(noise(1), part.box)], FakeEncoder())
    [found] = embed_parts([PartsRequest(ImageRequest(noise(1)), [None, part])], FakeEncoder())
    np.testing.assert_array_equal(found.results[1].vector, alone.vector)


def test_a_part_says_where_it_comes_from_whether_there_is_a_cache_or_not(tmp_path: Path):
    request = PartsRequest(ImageRequest(noise(1)), [None, *boxes(2)])
    with VectorCache(tmp_path / "cache") as cache:
        [cached], [plain] = (list(embed_parts([request], FakeEncoder(), cache=each)) for each in (cache, None))
    assert [part.origin for part in plain.results] == [part.origin for part in cached.results]
    assert len({part.origin for part in plain.results}) == 3


def test_a_request_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ImageRequest(noise(1)).box = (0, 0, 1, 1)  # type: ignore[misc]
