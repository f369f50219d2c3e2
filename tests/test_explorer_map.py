"""A store's map is kept, grows without moving what is there, and is named by what sets its regions apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from index_truth import change_items, make_items, write_items

from datumaro_clip.cli import main
from datumaro_clip.errors import CacheError
from datumaro_clip.explorer.map import make_map, map_of, map_path
from datumaro_clip.explorer.regions import caption_words, name_regions
from datumaro_clip.index import OBJECTS, Snapshot, open_index
from datumaro_clip.index.columns import Words


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


def snapshot_of(path: Path) -> Snapshot:
    return open_index(path).snapshot


def test_a_store_has_no_map_until_it_is_made(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(20))
    assert map_of(snapshot_of(store)) is None
    points = make_map(snapshot_of(store))
    assert points.shape == (len(snapshot_of(store).targets["pictures"]), 2)
    kept = map_of(snapshot_of(store))
    assert kept is not None
    assert kept.tobytes() == points.tobytes()


def test_an_empty_store_has_an_empty_map(tmp_path: Path):
    assert make_map(snapshot_of(write_items(tmp_path / "store", []))).shape == (0, 2)


def test_what_is_on_the_map_keeps_its_place_when_items_come_and_go(tmp_path: Path):
    items = make_items(40)
    store = write_items(tmp_path / "store", items)
    before = snapshot_of(store)
    points = make_map(before)
    places = {before.targets["pictures"].key(row): place for row, place in enumerate(points.tolist())}
    change_items(store, make_items(10, first=100), [item.key for item in items[3:9]])
    after = snapshot_of(store)
    grown = map_of(after)
    assert grown is not None
    assert np.isfinite(grown).all()
    keys = [after.targets["pictures"].key(row) for row in range(len(grown))]
    assert sum(key in places for key in keys) == len(places) - sum(item.key in places for item in items[3:9])
    assert [place for key, place in zip(keys, grown.tolist(), strict=True) if key in places] == [
        places[key] for key in keys if key in places
    ]


def test_a_new_vector_of_an_old_item_gets_a_new_place(tmp_path: Path):
    items = make_items(40)
    store = write_items(tmp_path / "store", items)
    points = make_map(snapshot_of(store))
    changed = items[1].__class__(items[1].key, items[1].payload, -items[1].embedding)
    change_items(store, [changed], [])
    after = snapshot_of(store)
    grown = map_of(after)
    assert grown is not None
    row = next(row for row in range(len(grown)) if after.targets["pictures"].key(row) == items[1].key)
    assert grown[row].tolist() not in points.tolist()


def test_objects_have_a_map_of_their_own(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(20))
    points = make_map(snapshot_of(store), OBJECTS)
    assert len(points) == len(snapshot_of(store).targets[OBJECTS])
    assert map_of(snapshot_of(store)) is None


def test_a_damaged_map_is_named_with_the_cure(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(5))
    make_map(snapshot_of(store))
    map_path(store).write_bytes(b"nothing of the kind")
    with pytest.raises(CacheError, match="datum-clip map"):
        map_of(snapshot_of(store))


def test_the_command_makes_a_map_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = write_items(tmp_path / "store", make_items(12))
    assert main(["map", str(store)]) == 0
    assert "laid out" in capsys.readouterr().out
    assert main(["map", str(store)]) == 0
    assert "--again" in capsys.readouterr().out
    assert main(["map", str(store), "--again"]) == 0
    assert "laid out" in capsys.readouterr().out


def words_of(names: list[list[str]]) -> Words:
    known: dict[str, int] = {}
    pairs = [(row, known.setdefault(name, len(known))) for row, own in enumerate(names) for name in own]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return Words(table[:, 0], table[:, 1], tuple(known))


def test_regions_are_named_by_what_is_frequent_there_and_rare_elsewhere():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20]], np.float32)
    points = (np.repeat(centres, 50, axis=0) + rng.normal(size=(150, 2))).astype(np.float32)
    kinds = np.repeat(["cat", "dog", "bird"], 50)
    found = name_regions(points, words_of([["thing", kind, kind] for kind in kinds.tolist()]))
    assert sorted(label.text for label in found.labels) == ["bird", "cat", "dog"]
    for label, (x, y) in zip(sorted(found.labels, key=lambda r: r.text), centres[[2, 0, 1]].tolist(), strict=True):
        assert np.hypot(label.x - x, label.y - y) < 1
    assert [found.names[owner] for owner in found.owners] == kinds.tolist()


def test_regions_that_nothing_sets_apart_are_numbered():
    assert name_regions(np.empty((0, 2), np.float32), words_of([])).names == []
    points = np.repeat(np.array([[0, 0], [9, 9]], np.float32), 5, axis=0)
    for names in ([[]] * 10, [["thing"]] * 2 + [[]] * 8):
        found = name_regions(points, words_of(names))
        assert found.names == ["#1", "#2"]
        assert found.labels == []
        assert [found.names[owner] for owner in found.owners] == ["#1"] * 5 + ["#2"] * 5


def test_words_are_letters_in_lower_case():
    found = caption_words(["A red-brown Armoire, 3 m", "élan red"])
    told = {(row, found.words[code]) for row, code in zip(found.items.tolist(), found.codes.tolist(), strict=True)}
    assert told == {(0, "red"), (0, "brown"), (0, "armoire"), (1, "élan"), (1, "red")}
