"""``clip_webdataset`` as a format of Datumaro's: pictures stay in the archives, the same items are the same bytes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_forked
from datumaro.components.annotation import AnnotationType, Bbox, Caption, Label
from datumaro.components.dataset import Dataset, StreamDataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.environment import Environment
from datumaro.components.media import Image
from hypothesis import given, settings
from hypothesis import strategies as st
from test_host_tables import files, jpeg, rows
from test_tables_shards import write_tar

from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.store import ArchiveMember
from datumaro_clip.testing import FakeEncoder


def load(spec: Path | str, **options: Any) -> Dataset:
    return Dataset.import_from(str(spec), "clip_webdataset", **options)


def members(folder: Path) -> dict[str, dict[str, bytes]]:
    """The members of the archives in a folder, by archive and name."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            found[path.name] = {info.name: tar.extractfile(info).read() for info in tar}
    return found


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two archives, as img2dataset writes them, with three pictures."""
    folder = tmp_path / "shards"
    for shard, keys in (("00000", (0, 1)), ("00001", (10_000,))):
        content: dict[str, bytes | str] = {}
        for key in keys:
            name = f"{key:09d}"
            content[f"{name}.jpg"] = jpeg(tmp_path / "p.jpg", key % 7).read_bytes()
            content[f"{name}.txt"] = f"picture {key}"
            content[f"{name}.json"] = json.dumps({"caption": f"picture {key}", "key": name, "width": 8})
        write_tar(folder / f"{shard}.tar", content)
    return folder


def test_shards_are_detected_and_their_pictures_stay_in_them(shards: Path):
    assert Dataset.detect(str(shards)) == "clip_webdataset"
    dataset = load(shards)
    item = dataset.get("000010000", "default")
    assert len(dataset) == 3
    assert isinstance(item.media._data, ArchiveMember)
    assert item.media.data.shape == (6, 8, 3)
    assert [note.caption for note in item.annotations] == ["picture 10000"]
    assert item.attributes == {"key": "000010000", "width": 8}


def test_archives_without_texts_are_not_detected(tmp_path: Path):
    write_tar(tmp_path / "a.tar", {"a.jpg": b"x"})
    assert "clip_webdataset" not in Environment().detect_dataset(str(tmp_path))


def test_patterns_name_shards_on_the_command_line(shards: Path, tmp_path: Path):
    done = run_forked(
        "datum", "transform", "-t", "rename", "-o", tmp_path / "out", f"{shards}/{{00000..00001}}.tar:clip_webdataset"
    )
    assert done.returncode == 0, done.stdout
    assert members(tmp_path / "out").keys() == {"000000.tar"}
    assert len(load(tmp_path / "out")) == 3


def test_out_and_in_again_gives_the_same_members(shards: Path, tmp_path: Path):
    load(shards).export(str(tmp_path / "out"), "clip_webdataset", shard_size=2)
    before = {name: data for archive in members(shards).values() for name, data in archive.items()}
    after = members(tmp_path / "out")
    assert [len(archive) for archive in after.values()] == [6, 3]
    found = {name: data for archive in after.values() for name, data in archive.items()}
    assert found.keys() == before.keys()
    for name, data in before.items():
        same = json.loads(found[name]) == json.loads(data) if name.endswith("json") else found[name] == data
        assert same, name


def test_the_same_items_give_the_same_bytes(shards: Path, tmp_path: Path):
    for name in ("a", "b"):
        load(shards).export(str(tmp_path / name), "clip_webdataset")
    first, second = ((tmp_path / name / "000000.tar").read_bytes() for name in ("a", "b"))
    assert first == second


def test_other_datasets_become_shards_and_come_back(tmp_path: Path):
    """Ids with dots, several captions, labels, subsets and attributes stay; items without a picture are counted."""
    picture = Image.from_numpy(np.full((4, 4, 3), 7, np.uint8))
    notes = [Caption("x"), Caption("y"), Label(1), Bbox(0, 0, 1, 1)]
    items = [
        DatasetItem("d.1/a.b", subset="train", media=picture, annotations=notes),
        DatasetItem("2", subset="2024", media=picture, attributes={"k": 3, "l": [1, None]}),
        DatasetItem("3", subset="train"),
    ]
    Dataset.from_iterable(items, categories=["p", "q"]).export(str(tmp_path / "out"), "clip_webdataset")
    assert members(tmp_path / "out")["000000.tar"].keys() == {
        "d.1/a_b.png", "d.1/a_b.txt", "d.1/a_b.json", "2.png", "2.json",
    }  # fmt: skip
    back = load(tmp_path / "out")
    found = back.get("d.1/a.b", "train")
    assert [note.caption for note in found.annotations if isinstance(note, Caption)] == ["x", "y"]
    assert [label.name for label in back.categories()[AnnotationType.label]] == ["q"]
    assert (found.media.data == 7).all()
    assert back.get("2", "2024").attributes == {"k": 3, "l": [1, None]}
    assert len(back) == 2


def test_a_store_without_saved_media_finds_the_pictures_again(shards: Path, tmp_path: Path, encoder: FakeEncoder):
    load(shards).export(str(tmp_path / "store"), "clip_mmap")
    back = Dataset.import_from(str(tmp_path / "store"), "clip_mmap")
    for item in load(shards):
        found = back.get(item.id, item.subset)
        assert found.media._data == item.media._data
        assert found.media.bytes == item.media.bytes


def test_an_archive_that_is_gone_is_a_fault_that_integrity_names(shards: Path):
    dataset = load(shards)
    items = list(dataset)
    (shards / "00001.tar").unlink()
    with pytest.raises(ImageError, match="there is no such archive"):
        items[2].media.bytes  # noqa: B018 - reading is what fails
    validator = dataset.env.validators["clip_integrity"]()
    found = validator.compute_statistics(dataset)
    assert found["by_kind"]["MissingMedia"] == 1


def test_a_table_goes_through_shards_with_equal_rows_and_pictures(tmp_path: Path):
    """Titles and labels, an id of its own, and where its pictures were."""
    folder = tmp_path / "shop"
    lines = ["sku,title,description,price,category,image,id"]
    for n in range(5):
        jpeg(folder / "images" / f"{n}.jpg", n)
        lines.append(f'00{n},Hat {n},"a hat, {n}",{n}.50,hats,images/{n}.jpg,{n}')
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    Dataset.import_from(str(folder / "t.csv"), "clip_table").export(
        str(tmp_path / "wds"), "clip_webdataset", shard_size=2
    )
    assert members(tmp_path / "wds").keys() == {"000000.tar", "000001.tar", "000002.tar"}
    load(tmp_path / "wds").export(str(tmp_path / "back"), "clip_table", save_media=True)
    before, after = rows(folder / "t.csv"), rows(tmp_path / "back" / "default.csv")
    assert [{name: row[name] for name in before[0]} for row in after] == before
    assert after[0].keys() == before[0].keys()
    assert files(tmp_path / "back") == files(folder)


def test_a_size_that_is_none_is_refused(shards: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="--shard-size must be at least 1"):
        load(shards).export(str(tmp_path / "out"), "clip_webdataset", shard_size=0)


def test_a_stream_keeps_no_items(shards: Path):
    stream = StreamDataset.import_from(str(shards), "clip_webdataset")
    assert [item.id for item in stream] == ["000000000", "000000001", "000010000"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SAMPLE = st.fixed_dictionaries(
    {},
    optional={
        "txt": TEXT,
        "cls": st.integers(0, 9).map(str),
        "json": st.dictionaries(
            st.sampled_from(["caption", "title", "label", "n", "é"]),
            st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2),
            max_size=4,
        ).map(json.dumps),
    },
)


@settings(max_examples=40)
@given(st.lists(SAMPLE, min_size=1, max_size=5))
def test_shards_through_datumaro_have_the_same_rows(tmp_path_factory: pytest.TempPathFactory, samples):
    """The law: what the members of each key say comes back, a text that JSON repeats included."""
    folder = tmp_path_factory.mktemp("law")
    data = jpeg(folder / "p.jpg").read_bytes()
    content = []
    for n, sample in enumerate(samples):
        content += [(f"d/{n}.{field}", text) for field, text in [("jpg", data), *sample.items()]]
    write_tar(folder / "in" / "0.tar", content)
    load(folder / "in").export(str(folder / "out"), "clip_webdataset")

    def said(where: str) -> list[Any]:
        return [
            (each.id, each.media.bytes, [note.caption for note in each.annotations if isinstance(note, Caption)],
             sorted(str(note.label) for note in each.annotations if isinstance(note, Label)), each.attributes)
            for each in load(folder / where)
        ]  # fmt: skip

    assert said("out") == said("in")
