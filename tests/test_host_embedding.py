"""Where items' vectors come from, in which order, and what is said about it."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Caption
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, PointCloud
from embeddings import with_embeddings

from datumaro_clip.curate import run_model as module
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import ImageError, InvalidVectorError, OptionError, SpaceMismatchError, TextError
from datumaro_clip.host.embedding import attach
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # BGR, as Datumaro holds pictures


def picture(name: str, colour: tuple[int, int, int] = RED, **kwargs: object) -> DatasetItem:
    return DatasetItem(name, media=Image.from_numpy(np.full((9, 7, 3), colour, np.uint8)), **kwargs)


@pytest.fixture
def options(tmp_path: Path) -> EmbeddingOptions:
    return EmbeddingOptions(cache=str(tmp_path / "cache"))


def test_no_items_load_no_model(monkeypatch: pytest.MonkeyPatch, options: EmbeddingOptions):
    monkeypatch.setattr(module, "load_model", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    assert list(with_embeddings([], options)) == []


def test_datumaros_bgr_is_seen_in_its_true_colours(encoder: FakeEncoder, options: EmbeddingOptions):
    [found] = with_embeddings([picture("a", RED)], options)
    red, blue = encoder.embed_texts(["red", "blue"])
    assert found.embedding is not None
    assert found.embedding.vector @ red > found.embedding.vector @ blue


def test_second_run_takes_vectors_from_the_items_and_loads_no_model(
    encoder: FakeEncoder, options: EmbeddingOptions, monkeypatch: pytest.MonkeyPatch
):
    items = [attach(found.item, found.embedding) for found in with_embeddings([picture("a")], options)]
    monkeypatch.setattr(module, "load_model", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    [found] = with_embeddings(items, options)
    assert found.embedding is items[0].attributes[EMBEDDING_ATTRIBUTE]


def test_second_run_takes_vectors_from_the_cache(encoder: FakeEncoder, options: EmbeddingOptions):
    first = [found.embedding for found in with_embeddings([picture("a"), picture("b", BLUE)], options)]
    computed = encoder.pictures_computed
    assert [found.embedding for found in with_embeddings([picture("c"), picture("d", BLUE)], options)] == first
    assert encoder.pictures_computed == computed


def test_order_is_kept_whatever_the_source(encoder: FakeEncoder, options: EmbeddingOptions):
    [carried] = with_embeddings([picture("x", GREEN)], options)
    known = attach(picture("known", GREEN), carried.embedding)
    items = [known, picture("a"), known.wrap(id="k2"), DatasetItem("none"), picture("b", BLUE), known.wrap(id="k3")]
    found = list(with_embeddings(items, options))
    assert [one.item.id for one in found] == ["known", "a", "k2", "none", "b", "k3"]
    assert [one.embedding is None for one in found] == [False, False, False, True, False, False]


def test_items_without_a_picture_come_through(encoder: FakeEncoder, options: EmbeddingOptions):
    items = [DatasetItem("empty"), DatasetItem("cloud", media=PointCloud.from_bytes(b"x"))]
    found = list(with_embeddings(items, options))
    assert [(one.embedding, one.error) for one in found] == [(None, None), (None, None)]


@pytest.mark.parametrize("position", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize("policy", ["keep", "skip"])
def test_corrupt_picture_harms_no_other(
    encoder: FakeEncoder, options: EmbeddingOptions, tmp_path: Path, position: int, policy: str
):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    items = [picture(f"i{n}", (n * 40, 9, 9)) for n in range(5)]
    items[position] = DatasetItem("bad", media=Image.from_file(str(tmp_path / "bad.jpg")))
    found = list(with_embeddings(items, EmbeddingOptions(cache="off", on_error=policy, batch_size=5)))
    good = {one.item.id: one.embedding for one in found if one.item.id != "bad"}
    assert len(found) == (5 if policy == "keep" else 4)
    alone = {name: one.embedding for name, one in zip(good, with_embeddings_of(items, "bad"), strict=True)}
    assert good == alone


def with_embeddings_of(items: list[DatasetItem], without: str):
    return with_embeddings([item for item in items if item.id != without], EmbeddingOptions(cache="off", batch_size=1))


def test_failing_policy_names_the_item(encoder: FakeEncoder):
    missing = DatasetItem("gone", subset="val", media=Image.from_file("nowhere/gone.jpg"))
    with pytest.raises(ImageError, match=r"item 'gone' \(subset 'val'\)"):
        list(with_embeddings([missing], EmbeddingOptions(cache="off", on_error="fail")))


def test_vectors_of_another_model_are_refused_or_computed_again(
    encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    items = [attach(f.item, f.embedding) for f in with_embeddings([picture("a")], EmbeddingOptions(cache="off"))]
    other = FakeEncoder(seed=1)
    monkeypatch.setattr(module, "load_model", lambda *args, **kwargs: other)
    with pytest.raises(SpaceMismatchError, match="--recompute"):
        list(with_embeddings(items, EmbeddingOptions(cache="off", model="other")))
    [found] = with_embeddings(items, EmbeddingOptions(cache="off", model="other", recompute=True))
    assert found.embedding is not None
    assert found.embedding.space == other.space.fingerprint


def test_vectors_of_the_model_itself_are_not_computed_again(encoder: FakeEncoder):
    """``--recompute`` is for those of another model."""
    options = EmbeddingOptions(cache="off", model="this", recompute=True)
    items = [attach(each.item, each.embedding) for each in with_embeddings([picture("a")], options)]
    computed = encoder.pictures_computed
    assert [each.embedding for each in with_embeddings(items, options)] == [items[0].attributes["clip_embedding"]]
    assert encoder.pictures_computed == computed == 1


def test_missing_vectors_are_not_computed_in_another_space_than_the_items_have(
    encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
):
    [known] = [attach(f.item, f.embedding) for f in with_embeddings([picture("a")], EmbeddingOptions(cache="off"))]
    monkeypatch.setattr(module, "load_model", lambda *args, **kwargs: FakeEncoder(seed=1))
    with pytest.raises(SpaceMismatchError, match="the model computes vectors of"):
        list(with_embeddings([known, picture("b")], EmbeddingOptions(cache="off")))


def test_model_is_the_one_that_made_the_items_vectors(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch):
    """Naming no model must not mean the default model, where the items have vectors of another."""
    [known] = [attach(f.item, f.embedding) for f in with_embeddings([picture("a")], EmbeddingOptions(cache="off"))]
    wanted: list[object] = []
    monkeypatch.setattr(module, "load_model", lambda model, **kwargs: wanted.append(model) or encoder)
    list(with_embeddings([picture("b"), known], EmbeddingOptions(cache="off")))
    assert wanted == [encoder.space.fingerprint]


def test_captions_are_scored_against_their_picture(encoder: FakeEncoder, options: EmbeddingOptions):
    item = picture("a", RED, annotations=[Bbox(0, 0, 1, 1, label=0), Caption("a red car"), Caption("a blue car")])
    [found] = with_embeddings([item], EmbeddingOptions(cache="off", texts="captions"))
    assert [caption.annotation_index for caption in found.captions] == [1, 2]
    assert found.captions[0].score > found.captions[1].score


def test_a_caption_that_is_no_text_is_named_by_its_item(encoder: FakeEncoder):
    items = [
        DatasetItem(name, annotations=[Caption("a"), Caption(text)]) for name, text in [("x", "b"), ("y", "\ud800")]
    ]
    with pytest.raises(TextError, match=r"item 'y'.*surrogate"):
        list(with_embeddings(items, EmbeddingOptions(cache="off", texts="captions")))


def test_labels_are_embedded_once_each_through_the_prompt(encoder: FakeEncoder):
    boxes = [Bbox(0, 0, 1, 1, label=1), Bbox(1, 1, 1, 1, label=1), Bbox(0, 0, 1, 1)]
    dataset = Dataset.from_iterable([picture("a", BLUE, annotations=boxes)], categories=["red", "blue"])
    options = EmbeddingOptions(cache="off", texts="labels", prompt="a {} thing")
    [found] = with_embeddings(dataset, options, dataset.categories())
    expected = encoder.embed_texts(["a blue thing"])[0]
    assert [caption.annotation_index for caption in found.captions] == [0]
    np.testing.assert_allclose(found.captions[0].vector, expected, atol=1e-6)


def test_summary_tells_sources_reasons_and_model(
    encoder: FakeEncoder, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level(logging.INFO)
    (tmp_path / "empty.png").touch()
    items = [picture("a"), DatasetItem("e", media=Image.from_file(str(tmp_path / "empty.png"))), DatasetItem("none")]
    list(with_embeddings(items, EmbeddingOptions(cache="off")))
    summary = caplog.messages[-1]
    assert "embedded 1, from the cache 0, kept 0, without a picture 1, failed 1 (empty 1)" in summary
    assert f"device {encoder.provenance.device}, precision {encoder.provenance.precision}, " in summary
    assert summary.endswith("images/s")


def test_summary_tells_no_speed_where_nothing_was_computed(
    encoder: FakeEncoder, options: EmbeddingOptions, caplog: pytest.LogCaptureFixture
):
    """0.0 images/s, after a run that was fast."""
    caplog.set_level(logging.INFO)
    for _ in range(2):
        list(with_embeddings([picture("a")], options))
    assert caplog.messages[-1].endswith(f"precision {encoder.provenance.precision}")


@pytest.mark.parametrize(
    "options",
    [
        {"on_error": "ignore"},
        {"texts": "all"},
        {"batch_size": 0},
        {"streams": 0},
        {"threads": -1},
        {"prompt": "no place"},
    ],
)
def test_options_that_cannot_be_used_are_named(options: dict[str, object]):
    with pytest.raises(OptionError, match="--"):
        EmbeddingOptions(**options)


def test_attribute_compares_copies_pickles_and_serialises(encoder: FakeEncoder, options: EmbeddingOptions):
    [found] = with_embeddings([picture("a")], options)
    embedding = found.embedding
    assert embedding is not None
    for twin in (copy.copy(embedding), copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding))):
        assert twin == embedding
        assert hash(twin) == hash(embedding)
        assert not twin.vector.flags.writeable
    assert attach(picture("a"), embedding).attributes == {EMBEDDING_ATTRIBUTE: embedding}


def test_an_attribute_that_is_no_vector_is_named_with_its_item(options: EmbeddingOptions):
    odd = DatasetItem("odd", subset="train", attributes={EMBEDDING_ATTRIBUTE: 3})
    with pytest.raises(InvalidVectorError, match=r"item 'odd' \(subset 'train'\): clip_embedding holds int"):
        list(with_embeddings([odd], options))


@pytest.mark.parametrize("name", ["datumaro", "datumaro_binary", "arrow"])
def test_general_formats_keep_the_vector_to_the_last_bit(
    encoder: FakeEncoder, options: EmbeddingOptions, tmp_path: Path, name: str
):
    items = [attach(found.item, found.embedding) for found in with_embeddings([picture("a")], options)]
    Dataset.from_iterable(items).export(str(tmp_path / "out"), name, save_media=True)
    [back] = Dataset.import_from(str(tmp_path / "out"), name)
    assert Embedding.from_attribute(back.attributes[EMBEDDING_ATTRIBUTE]) == items[0].attributes[EMBEDDING_ATTRIBUTE]


def test_what_is_set_for_speed_changes_no_vector():
    items = [picture(name) for name in "abcdefg"]
    usual = list(with_embeddings(items, EmbeddingOptions(cache="off", model="tiny")))
    set_by_hand = EmbeddingOptions(cache="off", model="tiny", batch_size=3, streams=1, threads=1)
    for mine, wanted in zip(with_embeddings(items, set_by_hand), usual, strict=True):
        assert mine.embedding is not None
        assert mine.embedding == wanted.embedding
