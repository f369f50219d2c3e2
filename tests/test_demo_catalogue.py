"""A catalogue must hold what truth.json says, read as COCO, and be the same for the same seed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.demo.catalogue.plan import ANNOTATION_DEFECTS, COPIES, FEWEST_ITEMS, PICTURE_DEFECTS, plan_catalogue
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, KINDS
from datumaro_clip.errors import OptionError

ITEMS = 48


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("catalogue") / "drawn"
    write_catalogue(directory, items=ITEMS, seed=7)
    return directory


@pytest.fixture(scope="module")
def truth(catalogue: Path) -> dict[str, Any]:
    return json.loads((catalogue / "truth.json").read_text(encoding="utf-8"))


def _defects(truth: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [defect for defect in truth["defects"] if defect["kind"] == kind]


def _picture(catalogue: Path, name: str) -> Path:
    return next(iter(catalogue.glob(f"images/*/{name}.*")))


def _annotations(catalogue: Path, task: str) -> dict[int, list[dict[str, Any]]]:
    """Annotations of ``task`` by the number of their item."""
    found: dict[int, list[dict[str, Any]]] = {}
    for path in catalogue.glob(f"annotations/{task}_*.json"):
        for annotation in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
            found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_too_few_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=str(FEWEST_ITEMS)):
        write_catalogue(tmp_path / "few", items=FEWEST_ITEMS - 1)
    assert not (tmp_path / "few").exists()


def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="not empty"):
        write_catalogue(tmp_path, items=FEWEST_ITEMS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("items", [FEWEST_ITEMS, 120, 2000])
def test_every_defect_is_planted_once_at_least_and_most_items_are_good(items: int) -> None:
    entries = plan_catalogue(items, 0)
    roles = [entry.role for entry in entries]
    assert len(entries) == items
    assert len({entry.id for entry in entries}) == items
    assert {*PICTURE_DEFECTS, *ANNOTATION_DEFECTS, "look_alike", ""} == set(roles)
    assert roles.count("") > 0.6 * items


def test_originals_are_good_items_and_have_one_copy_each() -> None:
    copies = [entry for entry in plan_catalogue(500, 1) if entry.of]
    assert all(entry.of and not entry.of.role for entry in copies)
    assert len({entry.of.id for entry in copies if entry.of}) == len(copies)


def test_look_alikes_share_kind_colour_and_pattern_only() -> None:
    pairs = [(entry.spec, entry.of.spec) for entry in plan_catalogue(500, 1) if entry.of and entry.role == "look_alike"]
    for one, other in pairs:
        assert (one.kind, one.colour, one.pattern) == (other.kind, other.colour, other.pattern)
        assert one.background != other.background
        assert one.seed != other.seed


def test_the_same_seed_gives_the_same_bytes_and_progress_counts_every_item(catalogue: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    write_catalogue(tmp_path / "again", items=ITEMS, seed=7, progress=seen.append)
    assert _digests(tmp_path / "again") == _digests(catalogue)
    assert seen == list(range(1, ITEMS + 1))


def test_another_seed_gives_other_items() -> None:
    assert [entry.spec for entry in plan_catalogue(40, 0)] != [entry.spec for entry in plan_catalogue(40, 1)]


def test_good_pictures_are_of_the_promised_size_and_format(catalogue: Path, truth: dict[str, Any]) -> None:
    bad = {defect["id"] for defect in truth["defects"]}
    suffixes = set()
    for path in (path for path in catalogue.glob("images/*/*") if path.stem not in bad):
        with Image.open(path) as picture:
            picture.load()
            suffixes.add(picture.format)
            assert 320 <= min(picture.size) <= max(picture.size) <= 640
    assert suffixes == {"JPEG", "PNG"}


def test_exact_copies_are_equal_bytes(catalogue: Path, truth: dict[str, Any]) -> None:
    for defect in _defects(truth, "exact_copy"):
        assert _picture(catalogue, defect["id"]).read_bytes() == _picture(catalogue, defect["of"]).read_bytes()


@pytest.mark.parametrize("kind", [kind for kind in COPIES if kind != "exact_copy"])
def test_changed_copies_are_other_bytes_of_a_like_picture(catalogue: Path, truth: dict[str, Any], kind: str) -> None:
    for defect in _defects(truth, kind):
        copy, original = (_picture(catalogue, defect[key]) for key in ("id", "of"))
        assert copy.read_bytes() != original.read_bytes()
        one, other = (np.asarray(Image.open(path).convert("L").resize((32, 32)), float) for path in (copy, original))
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.6


def test_unreadable_files_do_not_decode_and_missing_ones_are_not_there(catalogue: Path, truth: dict[str, Any]) -> None:
    for defect in _defects(truth, "unreadable_file"):
        with pytest.raises(OSError, match=r"truncated|identify"), Image.open(_picture(catalogue, defect["id"])) as one:
            one.load()
    for defect in _defects(truth, "missing_file"):
        assert not list(catalogue.glob(f"images/*/{defect['id']}.*"))


def test_captions_are_wrong_where_truth_says(catalogue: Path, truth: dict[str, Any]) -> None:
    captions = _annotations(catalogue, "captions")
    for kind in ("foreign_caption", "empty_caption", "garbled_caption"):
        for defect in _defects(truth, kind):
            told = captions[_number(defect["id"])][defect["caption_index"]]
            assert (told["id"], told["caption"]) == (defect["caption_id"], defect["caption"])
            assert bool(told["caption"].strip()) == (kind != "empty_caption")


def test_labels_are_wrong_where_truth_says_and_right_elsewhere(catalogue: Path, truth: dict[str, Any]) -> None:
    boxes = _annotations(catalogue, "instances")
    wrong = {defect["id"]: defect["label"] for defect in _defects(truth, "wrong_label")}
    for name, attributes in truth["attributes"].items():
        label = KINDS[boxes[_number(name)][0]["category_id"] - 1]
        assert label == wrong.get(name, attributes["kind"])
        assert (label == attributes["kind"]) == (name not in wrong)


def test_boxes_leave_the_picture_where_truth_says_and_nowhere_else(catalogue: Path, truth: dict[str, Any]) -> None:
    outside = {_number(defect["id"]) for defect in _defects(truth, "box_outside")}
    for path in catalogue.glob("annotations/instances_*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
        for annotation in document["annotations"]:
            x, y, width, height = annotation["bbox"]
            limits = sizes[annotation["image_id"]]
            inside = x >= 0 and y >= 0 and x + width <= limits[0] and y + height <= limits[1]
            assert inside == (annotation["image_id"] not in outside)


def test_truth_gives_the_attributes_of_every_drawn_thing(truth: dict[str, Any]) -> None:
    assert len(truth["attributes"]) == ITEMS - len(_defects(truth, "outlier"))
    for attributes in truth["attributes"].values():
        assert all(attributes[name] in values for name, values in ATTRIBUTES.items())


def test_datumaro_reads_it_as_coco(catalogue: Path, truth: dict[str, Any]) -> None:
    datumaro = pytest.importorskip("datumaro")
    dataset = datumaro.Dataset.import_from(str(catalogue), "coco")
    assert len(dataset) == ITEMS
    assert set(dataset.subsets()) == {"train", "val", "test"}
    for defect in _defects(truth, "foreign_caption"):
        item = dataset.get(defect["id"], defect["subset"])
        told = {note.id: note.caption for note in item.annotations if note.type.name == "caption"}
        assert told[defect["caption_id"]] == defect["caption"]
