"""Searching the objects of a store: ranked by item or by object, conditions on one and the same object, reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from reports import report_data

from datumaro_clip.cli import main
from datumaro_clip.errors import OptionError
from datumaro_clip.index import Filter, open_index
from datumaro_clip.search import search_objects
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey

RED, GREEN, BLUE, PINK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 90, 90)
CLASSES = ["mug", "hat"]


def scene(id: str, *objects: tuple[tuple[int, int, int], int, float | None]) -> DatasetItem:
    """A grey picture with a square for each colour, class and score, 20 pixels wide, side by side."""
    pixels = np.full((40, 30 * max(len(objects), 1) + 10, 3), 128, np.uint8)
    notes = []
    for n, (colour, label, score) in enumerate(objects):
        pixels[10:30, 30 * n + 10 : 30 * n + 30] = colour[::-1]
        notes.append(Bbox(30 * n + 10, 10, 20, 20, label=label, attributes={} if score is None else {"score": score}))
    return DatasetItem(id, subset="train", media=Image.from_numpy(pixels), annotations=notes)


@pytest.fixture
def store(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, kind: str) -> Path:
    """Three items with objects, one without."""
    monkeypatch.setattr("datumaro_clip.search.load_model", lambda *args, **kwargs: encoder)
    items = [
        scene("a", (RED, 0, 0.9), (PINK, 1, 0.3)),
        scene("b", (BLUE, 0, None), (PINK, 0, 0.4)),
        scene("c", (GREEN, 1, 0.8), (RED, 1, 0.2)),
        scene("bare"),
    ]
    source = Dataset.from_iterable(items, categories=CLASSES, media_type=Image)
    embedded = source.transform("clip_embed", objects=True)
    embedded.export(str(tmp_path / "s"), kind, save_media=True)
    return tmp_path / "s"


def found(store: Path, **options: object) -> list[tuple[str, int]]:
    """Items and annotations, best first, for a question about red things."""
    query = FakeEncoder().embed_texts(["red"])[0]
    return [
        (hit.key.id, hit.found.annotation_index) for hit in search_objects(open_index(store).snapshot, query, **options)
    ]


def test_each_item_is_found_once_by_its_best_object(store: Path):
    assert found(store) == [("a", 0), ("c", 1), ("b", 1)]


def test_each_object_is_found_where_asked(store: Path):
    assert found(store, by_item=False)[:4] == [("a", 0), ("c", 1), ("a", 1), ("b", 1)]
    assert found(store, by_item=False, k=1) == [("a", 0)]


def test_conditions_hold_for_one_and_the_same_object(store: Path):
    """Item c has a hat, and something of a confidence of 0.8, and something red: but no red hat of that confidence."""
    assert found(store, wanted=Filter(classes=("hat",))) == [("c", 1), ("a", 1)]
    assert found(store, wanted=Filter(classes=("hat",), min_score=0.5)) == [("c", 0)]
    assert found(store, wanted=Filter(classes=("boat",))) == []


def test_a_persons_box_is_sure(store: Path):
    assert found(store, wanted=Filter(min_score=0.95)) == [("b", 0)]


def test_scores_are_of_the_object_and_of_the_picture(store: Path, encoder: FakeEncoder):
    query = FakeEncoder().embed_texts(["red"])[0]
    [hit] = search_objects(open_index(store).snapshot, query, 1)
    red = np.full((20, 20, 3), RED, np.uint8)
    assert hit.score == pytest.approx(float(encoder.embed_images([red])[0] @ query), abs=1e-5)
    assert hit.picture_score is not None
    assert hit.picture_score < hit.score
    assert hit.found.class_name == "mug"
    assert hit.found.bbox == (10, 10, 30, 30)


def test_an_item_is_not_among_what_resembles_it(store: Path):
    assert found(store, without=ItemKey("a", "train")) == [("c", 1), ("b", 1)]


# On the command line


def test_command_prints_score_item_class_confidence_and_box(store: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["search", str(store), "red", "--objects", "-k", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("  ")[1:-1] == ["a", "train", "mug 0.90", "[10, 10, 30, 30]"]
    assert second.split("  ")[1:-1] == ["c", "train", "hat 0.20", "[40, 10, 60, 30]"]
    assert all(Path(line.split("  ")[-1]).is_file() for line in (first, second))


def test_json_has_the_box_as_corners(store: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["search", str(store), "red", "--objects", "--flat", "--min-confidence", "0.85", "--json"]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(hit["id"], hit["rank"]) for hit in hits] == [("a", 0), ("b", 1)]
    assert hits[0]["bbox"] == {"x1": 10.0, "y1": 10.0, "x2": 30.0, "y2": 30.0}
    assert hits[0]["confidence"] == pytest.approx(0.9)
    assert hits[1]["confidence"] is None


def test_pictures_are_told_as_json_too(store: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["search", str(store), "red", "-k", "1", "--json"]) == 0
    hit = json.loads(capsys.readouterr().out)
    assert set(hit) == {"rank", "id", "subset", "score", "path"}
    assert Path(hit["path"]).is_file()


def test_paths_are_for_programs(store: Path, capfdbinary: pytest.CaptureFixture[bytes]):
    """Each picture once, though two of its objects are found; with --print0, a line's end may be in a name."""
    words = ["search", str(store), "red", "--objects", "--flat"]
    assert main([*words, "--paths"]) == 0
    paths = capfdbinary.readouterr().out.decode().splitlines()
    assert sorted(Path(path).stem[0] for path in paths) == ["a", "b", "c"]
    assert all(Path(path).is_file() for path in paths)
    assert main([*words, "--print0"]) == 0
    assert capfdbinary.readouterr().out.decode() == "".join(f"{path}\0" for path in paths)


def test_no_hit_is_said_aside_from_the_results(store: Path, capsys: pytest.CaptureFixture[str], caplog):
    assert main(["search", str(store), "red", "--min-score", "1", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert "nothing was found" in caplog.text


def test_open_shows_a_report_in_the_browser(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["search", str(store), "red", "-k", "2", "--open"]) == 0
    [address] = opened
    assert len(report_data(Path(address.removeprefix("file://")).read_text())["pictures"]) == 2


def test_report_shows_each_hit_with_its_picture(store: Path, tmp_path: Path):
    assert main(["search", str(store), "red", "--objects", "-k", "2", "--report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<h1>“red”</h1>" in page
    first, second = report_data(page)["cards"]
    assert first["picture"] != second["picture"]
    assert first["record"]["text"] == "mug"
    assert "confidence 0.90" in first["record"]["detail"]


@pytest.mark.parametrize("words", [["--flat"], ["--min-confidence", "0.5"], ["--classes", "hat"]])
def test_options_of_objects_go_with_objects(store: Path, words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["search", str(store), "red", *words]) == 1
    assert f"{words[0]} is about objects: it goes with --objects" in capsys.readouterr().err


def test_a_store_without_objects_says_how_to_get_them(tmp_path: Path, encoder: FakeEncoder, capsys):
    source = Dataset.from_iterable([scene("a")], categories=CLASSES, media_type=Image)
    source.transform("clip_embed", store=tmp_path / "plain").init_cache()
    assert main(["search", str(tmp_path / "plain"), "red", "--objects"]) == 1
    assert "embed the dataset with clip_embed --objects" in capsys.readouterr().err


def test_unknown_subsets_and_shares_out_of_range_are_refused(store: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["search", str(store), "red", "--objects", "--subset", "test"]) == 1
    assert "no subset test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["search", str(store), "red", "--objects", "--min-confidence", "2"])
    with pytest.raises(OptionError):
        Filter(min_score=2)
