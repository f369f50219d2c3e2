"""``clip_embed`` in Python, from options to items, store and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Caption
from datumaro.components.comparator import EqualityComparator
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.errors import RepeatedItemError
from datumaro.components.media import Image

from datumaro_clip.errors import OptionError, StoreNotFoundError, StoreWriteError
from datumaro_clip.host import embed as embed_module
from datumaro_clip.host.embed import ClipEmbed
from datumaro_clip.store import open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding

pytestmark = pytest.mark.usefixtures("encoder")


def dataset(*names: str, value: int = 0) -> Dataset:
    pixels = [np.full((8, 8, 3), (value + 40 * n, 90, 10), np.uint8) for n in range(len(names))]
    items = [
        DatasetItem(name, subset="train", media=Image.from_numpy(pixel), annotations=[Caption(f"a picture of {name}")])
        for name, pixel in zip(names, pixels, strict=True)
    ]
    return Dataset.from_iterable(items, categories=["thing"])


def test_empty_dataset_stays_empty():
    assert len(dataset().transform("clip_embed")) == 0


def test_every_item_carries_its_vector_and_the_rest_is_untouched():
    source = dataset("a", "b")
    embedded = dataset("a", "b").transform("clip_embed")
    assert len(embedded) == 2
    for item in embedded:
        vector = item.attributes.pop(EMBEDDING_ATTRIBUTE)
        assert isinstance(vector, Embedding)
        assert item == source.get(item.id, item.subset)


def test_second_transform_computes_nothing(encoder: FakeEncoder):
    embedded = dataset("a", "b").transform("clip_embed")
    embedded.init_cache()
    computed = encoder.pictures_computed
    embedded.transform("clip_embed").init_cache()
    assert encoder.pictures_computed == computed


@pytest.mark.parametrize("kind", ["clip_hdf5", "clip_mmap"])
def test_store_holds_items_vectors_and_captions(tmp_path: Path, kind: str):
    options = {"store": tmp_path / "s", "store_format": kind, "texts": "captions"}
    embedded = list(dataset("a", "b").transform("clip_embed", **options))
    with open_store(tmp_path / "s") as reader:
        for row, item in enumerate(embedded):
            record = reader.record(row)
            np.testing.assert_array_equal(record.embedding, item.attributes[EMBEDDING_ATTRIBUTE].vector)
            assert len(record.captions) == 1


def test_captions_without_a_picture_are_stored_with_what_computed_them(tmp_path: Path, encoder: FakeEncoder):
    source = Dataset.from_iterable([DatasetItem("a", subset="train", annotations=[Caption("a red cat")])])
    source.transform("clip_embed", store=tmp_path / "s", texts="captions").init_cache()
    with open_store(tmp_path / "s") as reader:
        assert reader.record(0).embedding is None
        assert len(reader.record(0).captions) == 1
        assert reader.header.space == encoder.space


def test_store_that_is_there_is_replaced_only_when_told(tmp_path: Path):
    dataset("a").transform("clip_embed", store=tmp_path / "s").init_cache()
    with pytest.raises(StoreWriteError, match="already"):
        dataset("b").transform("clip_embed", store=tmp_path / "s").init_cache()
    dataset("b", "c").transform("clip_embed", store=tmp_path / "s", recompute=True).init_cache()
    with open_store(tmp_path / "s") as reader:
        assert [record.key.id for record in reader.records()] == ["b", "c"]


def test_skipped_items_are_gone_and_the_length_says_so(tmp_path: Path):
    source = dataset("a", "b")
    source.put(DatasetItem("gone", subset="train", media=Image.from_file(str(tmp_path / "gone.jpg"))))
    assert len(source.transform("clip_embed", on_error="skip")) == 2


def test_embedded_datasets_compare_merge_and_patch():
    one, other = dataset("a", "b").transform("clip_embed"), dataset("a", "b").transform("clip_embed")
    assert list(one) == list(other)
    report = EqualityComparator().compare_datasets(one, other)
    assert not any(report[key] for key in ("mismatches", "errors", "a_extra_items", "b_extra_items"))
    assert len(Dataset.from_extractors(one, other)) == 2
    one.update(dataset("c").transform("clip_embed"))
    assert {item.id for item in one} == {"a", "b", "c"}


def test_pictures_that_changed_get_another_vector():
    before = next(iter(dataset("a").transform("clip_embed"))).attributes[EMBEDDING_ATTRIBUTE]
    after = next(iter(dataset("a", value=99).transform("clip_embed"))).attributes[EMBEDDING_ATTRIBUTE]
    assert before != after


@pytest.mark.parametrize(
    "options", [{"store_format": "zip"}, {"vectors": "v.npy"}, {"on_error": "x"}, {"colour": "red"}]
)
def test_options_that_cannot_be_used_are_an_error_though_datumaro_drops_transforms_that_raise(options: dict[str, str]):
    with pytest.raises(OptionError):
        dataset("a").transform("clip_embed", **options).init_cache()


def test_command_line_is_refused_before_anything_is_done():
    with pytest.raises(OptionError, match="--prompt"):
        Dataset.from_iterable([]).env.transforms["clip_embed"].parse_cmdline(["--", "--prompt", "no place"])


@pytest.mark.parametrize("kind", ["clip_hdf5", "clip_mmap"])
def test_two_items_with_one_id_are_named_and_leave_no_store(tmp_path: Path, kind: str):
    twins = Dataset.from_iterable([DatasetItem("a", subset="train"), DatasetItem("a", subset="train")])
    with pytest.raises(RepeatedItemError, match="'a', 'train'"):
        twins.export(str(tmp_path / "out"), kind, no_embed=True)
    with pytest.raises(StoreNotFoundError):
        open_store(tmp_path / "out")


@pytest.mark.parametrize("overwrite", [False, True])
def test_store_is_written_once_however_often_a_transform_behind_looks(
    tmp_path: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch
):
    written: list[Path] = []
    create = embed_module.create_store
    monkeypatch.setattr(
        embed_module, "create_store", lambda path, *a, **k: written.append(path) or create(path, *a, **k)
    )
    source = dataset("a", "b", "c")
    source.transform("clip_embed", store=tmp_path / "s", overwrite=overwrite)
    source.transform("clip_search", item="b", k=2, report=str(tmp_path / "report"))
    hits = list(source)
    assert hits[0].id == "b"
    assert all(EMBEDDING_ATTRIBUTE in hit.attributes for hit in hits)
    assert written == [tmp_path / "s"]
    with open_store(tmp_path / "s") as reader:
        assert len(reader) == 3


def test_a_look_that_ends_early_leaves_the_store_to_the_next(tmp_path: Path):
    embed = ClipEmbed(dataset("a", "b"), store=tmp_path / "s")
    looks = iter(embed)
    next(looks)
    looks.close()
    with pytest.raises(StoreNotFoundError):
        open_store(tmp_path / "s")
    assert len(list(embed)) == len(list(embed)) == 2
    with open_store(tmp_path / "s") as reader:
        assert len(reader) == 2
