"""``clip_table`` as a format of Datumaro's: detected, imported, exported, and the same rows after it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from commands import run_forked
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset import Dataset, StreamDataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.errors import DatasetImportError
from datumaro.components.media import Image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from pyarrow import parquet

from datumaro_clip.host.tables.reading import ClipTableBase
from datumaro_clip.tables.delimited import write_delimited
from datumaro_clip.tables.files import open_table
from datumaro_clip.tables.json_rows import write_json
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.testing import FakeEncoder


def jpeg(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.new("RGB", (8, 6), (value % 256, 9, 9)).save(path)
    return path


def load(path: Path, **options: Any) -> Dataset:
    return Dataset.import_from(str(path), "clip_table", **options)


def rows(path: Path, separator: str | None = None) -> list[dict[str, Any]]:
    return [row.values for row in open_table(path, TableOptions(separator=separator))]


def files(folder: Path) -> dict[str, bytes]:
    """Pictures below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A table of three products and their pictures."""
    folder = tmp_path / "shop"
    for n in range(3):
        jpeg(folder / "images" / f"{n}.jpg", n)
    lines = ["sku,title,category,image"] + [f"00{n},Hat {n},hats,images/{n}.jpg" for n in range(3)]
    (folder / "shop.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_row_becomes_an_item(shop: Path):
    dataset = load(shop / "shop.csv")
    item = dataset.get("images/1", "default")
    assert (len(dataset), dataset.media_type()) == (3, Image)
    assert [note.caption for note in item.annotations if isinstance(note, Caption)] == ["Hat 1"]
    assert item.attributes == {"sku": "001", "image": "images/1.jpg"}
    assert item.media.data.shape == (6, 8, 3)


def test_keywords_say_what_columns_mean(shop: Path):
    dataset = load(shop / "shop.csv", id_column="sku", caption_column="category", label_column=[])
    assert [item.id for item in dataset] == ["000", "001", "002"]
    assert [note.caption for note in dataset.get("000").annotations] == ["hats"]
    with pytest.raises(DatasetImportError) as told:
        load(shop / "shop.csv", id_colum="sku")
    assert "has no option id_colum" in str(told.value.__cause__)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("image,title\nimages/0.jpg,a\n", "clip_table"),
        ("image,title\nnowhere.jpg,a\n", "tabular"),
        ("a,b\n1,2\n", "tabular"),
    ],
)
def test_a_table_is_ours_only_if_its_pictures_are_there(table: str, found: str, shop: Path):
    (shop / "shop.csv").write_text(table)
    assert Dataset.detect(str(shop)) == found


def test_other_formats_are_detected_as_before(tmp_path: Path):
    items = [DatasetItem("a", subset="train", media=Image.from_numpy(np.zeros((4, 4, 3))), annotations=[Label(0)])]
    for name in ("coco", "yolo", "datumaro"):
        Dataset.from_iterable(items, categories=["x"]).export(str(tmp_path / name), name, save_media=True)
        assert Dataset.detect(str(tmp_path / name)) == name


def test_the_transform_of_the_command_line_just_works(shop: Path, tmp_path: Path):
    shutil.copyfile(shop / "images" / "0.jpg", shop / "images" / "2.jpg")
    source = f"{shop}/shop.csv:clip_table"
    words = ("transform", "-t", "clip_dedup", "-o", tmp_path / "out", source, "--", "--levels", "exact")
    done = run_forked("datum", *words)
    assert done.returncode == 0, done.stdout
    assert rows(tmp_path / "out" / "default.csv") == rows(shop / "shop.csv")[:2]
    assert files(tmp_path / "out") == {name: data for name, data in files(shop).items() if "2" not in name}
    assert Dataset.detect(str(tmp_path / "out")) == "clip_table"


def test_init_is_read_by_the_importer(shop: Path):
    assert run_forked("datum-clip", "table", "init", shop / "shop.csv", "--id-column", "sku").returncode == 0
    assert load(shop).get("001", "shop") is not None
    again = run_forked("datum-clip", "table", "init", shop / "shop.csv")
    assert again.returncode == 1
    assert "is there already; edit it, or give --overwrite" in again.stdout


def test_check_names_each_refused_row(shop: Path):
    with (shop / "shop.csv").open("a") as file:
        file.write("1,2\n")
    done = run_forked("datum-clip", "table", "check", shop / "shop.csv")
    assert done.returncode == 1
    assert "shop.csv, line 5: cells: 2 cells, where the header has 4" in done.stdout
    assert "4 rows, 3 items; refused 1: cells 1" in done.stdout


def test_what_came_since_is_added_behind_the_columns(shop: Path, tmp_path: Path):
    dataset = load(shop / "shop.csv")
    item = dataset.get("images/1")
    attributes = {**item.attributes, "clip_score": 0.5}
    dataset.put(item.wrap(attributes=attributes, annotations=[*item.annotations, Caption("x")]))
    dataset.export(str(tmp_path / "out"), "clip_table")
    found = rows(tmp_path / "out" / "default.csv")
    assert list(found[1]) == ["sku", "title", "category", "image", "title_2", "clip_score"]
    assert [row["clip_score"] for row in found] == ["", "0.5", ""]
    assert found[1]["title_2"] == "x"


def test_without_saved_media_the_pictures_are_found_again(shop: Path, tmp_path: Path):
    load(shop / "shop.csv").export(str(tmp_path / "out"), "clip_table", table_format="jsonl")
    assert files(tmp_path / "out") == {}
    back = load(tmp_path / "out")
    assert [item.media.path for item in back] == [str(shop / "images" / f"{n}.jpg") for n in range(3)]


def test_other_datasets_become_tables_and_come_back(tmp_path: Path):
    """Five captions of an item are five columns; boxes have no place; ids, subsets and labels stay."""
    picture = Image.from_numpy(np.full((4, 4, 3), 7, np.uint8))
    items = [
        DatasetItem("a/1", subset="train", media=picture, annotations=[Caption("x"), Caption("y"), Label(1)]),
        DatasetItem("2", subset="val", media=picture, annotations=[Bbox(0, 0, 1, 1, label=0)], attributes={"k": 3}),
    ]
    Dataset.from_iterable(items, categories=["p", "q"]).export(str(tmp_path / "out"), "clip_table", save_media=True)
    assert rows(tmp_path / "out" / "train.csv") == [
        {"id": "a/1", "image": "images/train/a/1.png", "caption": "x", "caption_2": "y", "label": "q", "k": ""}
    ]
    back = load(tmp_path / "out")
    found = back.get("a/1", "train")
    assert [note.caption for note in found.annotations[:2]] == ["x", "y"]
    assert (found.media.data == 7).all()
    assert back.get("2", "val").attributes["k"] == "3"


def test_a_subset_that_no_file_can_be_called_is_a_column(tmp_path: Path):
    items = [DatasetItem("1", subset=name, annotations=[Caption("x")]) for name in ("a/b", "2024", "train")]
    Dataset.from_iterable(items).export(str(tmp_path / "out"), "clip_table")
    assert sorted(load(tmp_path / "out").subsets()) == ["2024", "a/b", "train"]


def test_saving_in_place_keeps_pictures_and_removes_tables_without_rows(shop: Path):
    before = files(shop)
    dataset = load(shop)
    dataset.transform("random_split", splits=[("train", 0.67), ("val", 0.33)], seed=1)
    dataset.save()
    assert files(shop) == before
    assert sorted(path.name for path in shop.glob("*.csv")) == ["train.csv", "val.csv"]
    assert len(load(shop)) == 3


def test_a_stream_keeps_no_items_and_a_pickled_dataset_is_one(shop: Path):
    stream = StreamDataset.import_from(str(shop / "shop.csv"), "clip_table")
    assert [item.id for item in stream] == [item.id for item in stream] == ["images/0", "images/1", "images/2"]
    copy = pickle.loads(pickle.dumps(ClipTableBase(str(shop / "shop.csv"), id_column="sku")))
    assert [item.id for item in copy] == ["000", "001", "002"]


def test_what_a_table_cannot_do_is_told(shop: Path, tmp_path: Path):
    for options, words in [
        ({"inline_media": True}, "pictures are kept inside Parquet only"),
        ({"dialect": "llava", "table_format": "csv"}, "llava is written as json, not as csv"),
    ]:
        with pytest.raises(ValueError, match=words):
            load(shop / "shop.csv").export(str(tmp_path / "out"), "clip_table", **options)


# Each dialect as its program documents it.


def write_img2dataset(root: Path) -> None:
    """github.com/rom1504/img2dataset, README, "output format": files; one download failed."""
    columns = {
        "url": ["http://a/1.jpg", "http://a/2.jpg", "http://a/3.jpg"],
        "caption": ["one", "two", None],
        "key": ["000000000", "000000001", "000000002"],
        "status": ["success", "failed_to_download", "success"],
        "error_message": [None, "HTTP Error 404: Not Found", None],
        "width": pa.array([8, None, 8], pa.int32()),
        "sha256": ["ab", None, "cd"],
    }
    root.mkdir()
    parquet.write_table(pa.table(columns), root / "00000.parquet")
    for key, caption in (("000000000", "one"), ("000000002", "")):
        jpeg(root / "00000" / f"{key}.jpg", int(key))
        (root / "00000" / f"{key}.txt").write_text(caption)
        (root / "00000" / f"{key}.json").write_text("{}")
    (root / "00000_stats.json").write_text('{"count": 3}')


def write_imagefolder(root: Path) -> None:
    """huggingface.co/docs/datasets/image_dataset, "ImageFolder": metadata.jsonl in each split's folder."""
    for subset, count in (("train", 2), ("test", 1)):
        lines = [{"file_name": f"{n:04d}.jpg", "text": f"picture {n}", "n": n} for n in range(count)]
        for line in lines:
            jpeg(root / subset / str(line["file_name"]), count)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (root / subset / "metadata.jsonl").write_text(text)


def write_hub_parquet(root: Path) -> None:
    """The same, as the hub stores it: pictures inside, features in the schema's metadata."""
    data = [{"bytes": jpeg(root.parent / "p" / f"{n}.jpg", n).read_bytes(), "path": f"{n}.jpg"} for n in range(3)]
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}}}
    table = pa.table({"image": data, "label": [0, 1, 0], "text": ["a", "", None]})
    (root / "data").mkdir(parents=True)
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}),
        root / "data" / "train-00000-of-00001.parquet",
    )


def write_open_clip(root: Path) -> None:
    """github.com/mlfoundations/open_clip, README, "sample single-process running code": tab, filepath, title."""
    for n in range(2):
        jpeg(root / "images" / f"{n}.jpg", n)
    (root / "train.tsv").write_text('filepath\ttitle\nimages/0.jpg\ta hat\nimages/1.jpg\t"two\nlines"\n')


def write_llava(root: Path) -> None:
    """github.com/haotian-liu/LLaVA, docs/Finetune_Custom_Data.md."""
    jpeg(root / "part-000001" / "000001.jpg")
    turns = [("human", "<image>\nWhat is it?"), ("gpt", "A hat."), ("human", "Its colour?"), ("gpt", "Red.")]
    conversation = [{"from": who, "value": what} for who, what in turns]
    image = "part-000001/000001.jpg"
    lines = [
        {"id": "997bb945", "image": image, "conversations": conversation},
        {"id": "text-only", "conversations": conversation[:2]},
    ]
    (root / "train.json").write_text(json.dumps(lines))


def write_clip_retrieval(root: Path) -> None:
    """github.com/rom1504/clip-retrieval, README, "clip inference"."""
    jpeg(root / "metadata" / "a.jpg")
    columns = {"image_path": ["a.jpg", "b.jpg"], "caption": ["x", "y"]}
    parquet.write_table(pa.table(columns), root / "metadata" / "metadata_0.parquet")


WRITERS = {
    "img2dataset": (write_img2dataset, "00000.parquet", 3),
    "imagefolder": (write_imagefolder, "train/metadata.jsonl", 3),
    "auto": (write_hub_parquet, "train.parquet", 3),
    "open_clip": (write_open_clip, "train.tsv", 2),
    "llava": (write_llava, "train.json", 2),
    "clip-retrieval": (write_clip_retrieval, "metadata/metadata_0.parquet", 2),
}


@pytest.mark.parametrize("dialect", WRITERS)
def test_a_program_s_layout_comes_in_and_goes_out_with_equal_rows(dialect: str, tmp_path: Path):
    write, name, count = WRITERS[dialect]
    write(tmp_path / "in")
    assert Dataset.detect(str(tmp_path / "in")) == "clip_table"
    dataset = load(tmp_path / "in")
    assert len(dataset) == count
    dataset.export(str(tmp_path / "out"), "clip_table", save_media=True)
    before = tmp_path / "in" / name if dialect != "auto" else next((tmp_path / "in").rglob("*.parquet"))
    assert rows(tmp_path / "out" / name) == rows(before)
    if name.endswith(".parquet"):
        assert parquet.read_table(tmp_path / "out" / name).equals(parquet.read_table(before), check_metadata=True)
    assert files(tmp_path / "out") == files(tmp_path / "in")


def test_failed_downloads_are_items_without_a_picture(tmp_path: Path):
    write_img2dataset(tmp_path / "in")
    assert [item.media is not None for item in load(tmp_path / "in")] == [True, False, True]


def test_answers_of_a_model_are_captions_and_lost_ones_take_their_question(tmp_path: Path):
    write_llava(tmp_path / "in")
    dataset = load(tmp_path / "in")
    item = dataset.get("997bb945", "train")
    assert [note.caption for note in item.annotations] == ["A hat.", "Red."]
    dataset.put(item.wrap(annotations=item.annotations[1:]))
    dataset.export(str(tmp_path / "out"), "clip_table")
    told = rows(tmp_path / "out" / "train.json")[0]["conversations"]
    assert [turn["value"] for turn in told] == ["Its colour?", "Red."]


@pytest.mark.parametrize("dialect", [*(name for name in WRITERS if name != "auto"), "sidecar"])
def test_any_table_can_be_written_in_any_dialect(dialect: str, shop: Path, tmp_path: Path):
    load(shop / "shop.csv").export(str(tmp_path / "out"), "clip_table", dialect=dialect, save_media=True)
    back = load(tmp_path / "out", **({"dialect": "sidecar"} if dialect == "sidecar" else {}))
    assert len(back) == 3
    captions = [next(note.caption for note in item.annotations if isinstance(note, Caption)) for item in back]
    assert captions == ["Hat 0", "Hat 1", "Hat 2"]
    assert [item.media.bytes for item in back] == [(shop / "images" / f"{n}.jpg").read_bytes() for n in range(3)]


def test_pictures_go_into_a_parquet_file_and_out_of_it(shop: Path, tmp_path: Path):
    load(shop / "shop.csv").export(str(tmp_path / "in"), "clip_table", table_format="parquet", inline_media=True)
    back = load(tmp_path / "in")
    assert [item.media.bytes for item in back] == [(shop / "images" / f"{n}.jpg").read_bytes() for n in range(3)]
    back.export(str(tmp_path / "out"), "clip_table", table_format="csv", save_media=True)
    assert set(files(tmp_path / "out").values()) == set(files(shop).values())


def test_addresses_are_sampled_by_their_texts_before_anything_is_fetched(tmp_path: Path, encoder: FakeEncoder):
    """Two captions say one thing: of three rows, those two that differ are picked, and no picture is asked for."""
    lines = ["url,caption,id"] + [
        f"http://a/{n}.jpg,{text},{n}" for n, text in enumerate(("a hat", "a hat", "a red car"))
    ]
    (tmp_path / "urls.csv").write_text("\n".join(lines) + "\n")
    dataset = load(tmp_path / "urls.csv")
    dataset.transform("clip_sample", strategy="k_center", by="captions", count=2)
    dataset.export(str(tmp_path / "out"), "clip_table")
    assert {row["caption"] for row in rows(tmp_path / "out" / "default.csv")} == {"a hat", "a red car"}
    assert [row["url"] for row in rows(tmp_path / "out" / "default.csv")][1] == "http://a/2.jpg"


def test_a_split_keeps_copies_on_one_side(shop: Path, tmp_path: Path):
    lines = (shop / "shop.csv").read_text()
    for n in range(3, 12):
        jpeg(shop / "images" / f"{n}.jpg", n // 3)
        lines += f"{n},Hat {n},hats,images/{n}.jpg\n"
    (shop / "shop.csv").write_text(lines)
    load(shop / "shop.csv").export(str(tmp_path / "out"), "clip_table", split=0.5, seed=3, save_media=True)
    parts = {name: {row["image"] for row in rows(tmp_path / "out" / f"{name}.csv")} for name in ("train", "val")}
    digests = {name: {(shop / image).read_bytes() for image in images} for name, images in parts.items()}
    assert len(parts["train"]) + len(parts["val"]) == 12
    assert min(map(len, parts.values())) > 0
    assert not digests["train"] & digests["val"]
    with pytest.raises(ValueError, match="--split must be a share"):
        load(shop / "shop.csv").export(str(tmp_path / "out"), "clip_table", split=1.0)


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def test_real_products_become_items(shared: Path):
    dataset = load(shared / "data" / "products" / "products.csv")
    item = dataset.get("21179", "default")
    captions = [note.caption for note in item.annotations if isinstance(note, Caption)]
    assert len(dataset) == 12_348
    assert captions[0] == "ADIDAS Men Adi Stars Tread Black Flip Flops"
    assert [note.attributes["column"] for note in item.annotations] == ["title", "description", "category"]
    assert item.attributes == {"product_id": "21179", "price": "118.75", "image": "images/21179.jpg"}


SUBSET = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\/.:"), max_size=8) | st.just("a\\b")
NAME = st.sampled_from(["a.jpg", "x/b.jpg", "", "missing.png"])
VALUE = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | CELL | st.lists(CELL, max_size=2)
ROW = st.fixed_dictionaries(
    {"key": st.uuids().map(str)},
    optional={
        "image": NAME,
        "caption": CELL | st.lists(CELL, max_size=3),
        "label": VALUE,
        "split": SUBSET,
        "extra": VALUE,
    },
)


@settings(max_examples=60)
@given(
    st.lists(ROW, min_size=1, max_size=6),
    st.sampled_from(["csv", "tsv", "jsonl", "json"]),
    st.sampled_from([None, "|"]),
)
def test_a_table_through_datumaro_has_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, table, form: str, separator
):
    """The law, over values, absent and empty cells, lists, labels in one cell, and odd subsets."""
    folder = tmp_path_factory.mktemp("law")
    columns = list(dict.fromkeys(name for row in table for name in row))
    path = folder / f"t.{form}"
    opened = (
        write_json(path, in_list=form == "json")
        if form in ("json", "jsonl")
        else write_delimited(path, columns, "\t" if form == "tsv" else ",")
    )
    with opened as write_row:
        for row in table:
            write_row(row)
    load(path, label_separator=separator).export(str(folder / "out"), "clip_table")
    assert rows(folder / "out" / f"default.{form}") == rows(path)
