"""Labels renamed and joined, and datasets merged: nothing lost, nothing doubled, the sources as they were."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.annotation import (
    AnnotationType,
    Bbox,
    Caption,
    Label,
    LabelCategories,
    MaskCategories,
    PointsCategories,
    Polygon,
)
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, PointCloud

from datumaro_clip import cli
from datumaro_clip.curate.mapping import NameMapping
from datumaro_clip.errors import OptionError
from datumaro_clip.host.items import label_names
from datumaro_clip.host.labels import FORMER, ClipLabels, instances_of
from datumaro_clip.host.merge import SOURCES, merge
from datumaro_clip.host.sources import Named

HEAD = "format: datumaro-clip mapping\nversion: 1\nlabels:\n"


def mapping_file(path: Path, *pairs: tuple[str, str], relation: str = "same") -> Path:
    lines = [f"- {{from: {name}, to: {target}, relation: {relation}, accept: yes}}\n" for name, target in pairs]
    path.write_text(HEAD + "".join(lines))
    return path


def picture(number: int) -> Image:
    return Image.from_numpy(np.full((20, 30, 3), number, np.uint8))


def item(name: str, number: int, *notes: Any, subset: str = "train", **attributes: Any) -> DatasetItem:
    return DatasetItem(name, subset=subset, media=picture(number), annotations=list(notes), attributes=attributes)


def dataset(*items: DatasetItem, labels: str = "cat dog") -> Dataset:
    return Dataset.from_iterable(items, categories=labels.split(), media_type=Image)


def named(**sources: Dataset) -> list[Named]:
    return [Named(name, each) for name, each in sources.items()]


def test_labels_are_renamed_joined_and_remember_their_names(tmp_path: Path):
    box = (1, 2, 5, 5)
    source = dataset(
        item("a", 1, Bbox(*box, label=0), Bbox(*box, label=1), Bbox(9, 9, 5, 5, label=1), Caption("x")),
        labels="couch sofa boat",
    )
    told = ClipLabels(source, mapping=str(mapping_file(tmp_path / "m.yaml", ("sofa", "couch"), ("boat", "ship"))))
    [found] = told
    assert label_names(told.categories()) == ["couch", "ship"]
    boxes = [note for note in found.annotations if isinstance(note, Bbox)]
    assert [(note.label, note.attributes.get(FORMER)) for note in boxes] == [(0, None), (0, "sofa")]
    assert told.infos()["clip_labels"]["mapping"] == "m.yaml"
    assert len(told.infos()["clip_labels"]["sha256"]) == 64
    assert len(source.get("a", "train").annotations) == 4


@pytest.mark.parametrize(
    ("labels", "said"),
    [([2], "clip_labels: nothing to rename; "), ([1, 1], "clip_labels: joined 2, sofa renamed 2; ")],
)
def test_what_was_renamed_is_told(labels: list[int], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    source = dataset(item("a", 1, *map(Label, labels), Label(0)), labels="couch sofa boat")
    with caplog.at_level(logging.INFO):
        list(ClipLabels(source, mapping=str(mapping_file(tmp_path / "m.yaml", ("sofa", "couch")))))
    assert said in caplog.text


def test_boxes_that_were_equal_before_stay(tmp_path: Path):
    source = dataset(item("a", 1, Bbox(1, 2, 5, 5, label=1), Bbox(1, 2, 5, 5, label=1)), labels="couch sofa")
    [found] = ClipLabels(source, mapping=str(mapping_file(tmp_path / "m.yaml", ("sofa", "couch"))))
    assert len(found.annotations) == 2


def test_colours_and_skeletons_follow_their_labels(tmp_path: Path):
    categories = {
        AnnotationType.label: LabelCategories.from_iterable(["couch", "sofa", "boat"]),
        AnnotationType.mask: MaskCategories({0: (1, 1, 1), 1: (2, 2, 2), 2: (3, 3, 3)}),
        AnnotationType.points: PointsCategories.from_iterable([(1, ["nose"]), (2, ["bow"])]),
    }
    source = Dataset.from_iterable([], categories=categories, media_type=Image)
    told = ClipLabels(source, mapping=str(mapping_file(tmp_path / "m.yaml", ("sofa", "couch")))).categories()
    assert label_names(told) == ["couch", "boat"]
    assert told[AnnotationType.mask].colormap == {0: (1, 1, 1), 1: (3, 3, 3)}
    assert {index: each.labels for index, each in told[AnnotationType.points].items.items()} == {
        0: ["nose"],
        1: ["bow"],
    }


def test_a_parent_joins_nothing(tmp_path: Path):
    source = dataset(item("a", 1, Label(0)), labels="sedan car")
    path = mapping_file(tmp_path / "m.yaml", ("sedan", "car"), relation="parent")
    told = ClipLabels(source, mapping=str(path)).categories()[AnnotationType.label]
    assert [(label.name, label.parent) for label in told.items] == [("sedan", "car"), ("car", "")]


def test_unknown_names_are_refused_with_the_nearest_one(tmp_path: Path):
    path = str(mapping_file(tmp_path / "m.yaml", ("sofas", "couch")))
    with pytest.raises(OptionError, match=r"there is no label 'sofas'; did you mean 'sofa'\?"):
        list(ClipLabels(dataset(item("a", 1), labels="sofa"), mapping=path))
    [found] = ClipLabels(dataset(item("a", 1), labels="sofa"), mapping=path, ignore_unknown=True)
    assert found.id == "a"
    with pytest.raises(OptionError, match="needs --mapping FILE"):
        list(ClipLabels(dataset()))


def test_nothing_merged_is_nothing():
    merged, report = merge(named(A=dataset(), B=dataset()))
    assert (len(merged), report.counts["items"]) == (0, 0)


def test_the_same_picture_becomes_one_item_with_all_annotations():
    box = Bbox(1, 2, 10, 10, label=0, id=5, group=5)
    here = dataset(item("a", 1, box, Caption("x"), id=9), item("b", 2))
    there = dataset(
        item(
            "z",
            1,
            Bbox(1, 2, 10, 11, label=0),
            Bbox(15, 2, 5, 5, label=1),
            Caption("x"),
            Caption("y"),
            subset="val",
            k=1,
        ),
        labels="dog cat",
    )
    before = copy.deepcopy([(each.id, each.annotations, each.attributes) for each in (*here, *there)])
    merged, report = merge(named(A=here, B=there))
    assert sorted(each.id for each in merged) == ["a", "b"]
    found = merged.get("a", "train")
    names = label_names(merged.categories())
    assert names == ["cat", "dog"]
    assert [each.box.label for each in instances_of(found.annotations, names)] == ["cat", "dog", "cat"]
    assert [note.caption for note in found.annotations if isinstance(note, Caption)] == ["x", "y"]
    assert found.attributes == {"k": 1, SOURCES: "A:a@train, B:z@val"}
    assert report.conflicts == ["a@train: cat is dog elsewhere"]
    assert [(each.id, each.annotations, each.attributes) for each in (*here, *there)] == before


def test_a_thing_that_both_have_is_not_doubled_whatever_its_shape():
    polygon = Polygon([1, 2, 11, 2, 11, 12, 1, 12], label=0, group=1)
    here = dataset(item("a", 1, Bbox(1, 2, 10, 10, label=0, group=1), polygon, Bbox(1, 2, 10, 10, label=0)))
    there = dataset(item("a", 1, Bbox(1, 2, 10, 10, label=0)))
    merged, report = merge(named(A=here, B=there))
    assert (report.counts["things in the sources"], report.counts["things"]) == (3, 2)
    [found] = merged
    assert len(found.annotations) == 3


def test_names_that_were_accepted_are_one_label():
    here, there = dataset(item("a", 1, Label(0)), labels="couch"), dataset(item("b", 2, Label(0)), labels="sofa")
    merged, _ = merge(named(A=here, B=there), NameMapping({"sofa": "couch"}, sha256="0" * 64))
    assert label_names(merged.categories()) == ["couch"]
    assert merged.get("b", "train").annotations[0].attributes[FORMER] == "sofa"
    assert merged.infos()["clip_labels"]["sha256"] == "0" * 64
    with pytest.raises(OptionError, match="there is no label 'settee'"):
        merge(named(A=here, B=there), NameMapping({"settee": "couch"}))


def test_one_id_with_two_pictures_stays_two_items():
    merged, report = merge(named(A=dataset(item("0001", 1, Label(0))), B=dataset(item("0001", 2, Label(1)))))
    assert sorted(each.id for each in merged) == ["0001", "0001-B"]
    assert report.renamed == ["0001@train of B is 0001-B"]
    assert merged.get("0001-B", "train").media.data[0, 0, 0] == 2


def test_copies_within_one_source_stay_apart():
    merged, _ = merge(named(A=dataset(item("a", 1), item("b", 1)), B=dataset(item("c", 1))))
    assert [(each.id, each.attributes[SOURCES]) for each in merged] == [
        ("a", "A:a@train, B:c@train"),
        ("b", "A:b@train"),
    ]


def test_a_source_says_which_subset_joined_items_get():
    here, there = dataset(item("a", 1)), dataset(item("a", 1, subset="val"))
    assert [each.subset for each in merge(named(A=here, B=there))[0]] == ["train"]
    assert [each.subset for each in merge(named(A=here, B=there), subset_of="B")[0]] == ["val"]
    with pytest.raises(OptionError, match="--subset-of must be one of A, B; got 'C'"):
        merge(named(A=here, B=there), subset_of="C")


def test_only_pictures_are_merged():
    with pytest.raises(OptionError, match="A holds no pictures"):
        merge(named(A=Dataset.from_iterable([], media_type=PointCloud)))


def test_real_sources_with_voc_s_names(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Six synonyms proposed with evidence, accepted, joined: 284 items, no box lost or doubled."""
    coco, yolo = shared / "data" / "coco_mini", shared / "data" / "coco128_yolo"
    write_voc_copy(coco, tmp_path / "voc")
    specs = [f"{coco}:coco", f"{yolo}:yolo", f"{tmp_path}/voc:voc_detection"]
    path = tmp_path / "m.yaml"
    assert cli.main(["labels", "propose", *specs, "-o", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.partition(":")[0] for line in lines[:-1]} == {f"{new} is {old}" for old, new in VOC.items()}
    assert all("'agreement': [1.0, 1.0]" in line for line in lines[:-1])
    path.write_text(path.read_text().replace("accept: no", "accept: yes"))
    words = ["--mapping", str(path), "-o", str(tmp_path / "out"), "-f", "datumaro", "--save-media"]
    words += ["--subset-of", "coco128_yolo"]
    assert cli.main(["merge", *specs, *words, "--report", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"] == {
        "items": 284,
        "items in the sources": 446,
        "things": 2237,
        "things in the sources": 2920,
    }
    assert report["conflicts"] == report["renamed"] == []
    shared_pictures = [line for line in report["joined"] if "coco128_yolo" in line]
    assert len(shared_pictures) == 3
    assert all("@train: coco_mini:" in line for line in shared_pictures)
    merged = Dataset.import_from(str(tmp_path / "out"), "datumaro")
    assert set(label_names(merged.categories())) & set(VOC.values()) == set()


VOC = {
    "airplane": "aeroplane",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "couch": "sofa",
    "tv": "tvmonitor",
}
OTHERS = "bicycle bird boat bottle bus car cat chair cow dog horse person sheep train"


def write_voc_copy(coco: Path, out: Path) -> None:
    """The dataset with VOC's classes under VOC's names, one box a thing."""
    source = Dataset.import_from(str(coco), "coco")
    names, labels = label_names(source.categories()), [*OTHERS.split(), *VOC.values()]
    items = []
    for each in source:
        things = [(thing, VOC.get(thing.box.label, thing.box.label)) for thing in instances_of(each.annotations, names)]
        boxes = [Bbox(*thing.box.box, label=labels.index(name)) for thing, name in things if name in labels]
        items.append(DatasetItem(each.id, subset=each.subset, media=each.media, annotations=boxes))
    Dataset.from_iterable(items, categories=labels).export(str(out), "voc_detection", save_media=True)


def test_ten_names_of_a_dataset_are_told_where_none_is_near(tmp_path: Path):
    names = " ".join(f"n{number}" for number in range(12))
    path = str(mapping_file(tmp_path / "m.yaml", ("zebra", "couch")))
    with pytest.raises(OptionError, match=r"no label 'zebra'; it has n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 \("):
        list(ClipLabels(dataset(labels=names), mapping=path))
