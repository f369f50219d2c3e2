"""Searches find what the store holds, in its order, under every filter and id."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from served import STRANGE_IDS, client_of, colours_store, make_store, picture
from starlette.testclient import TestClient

from datumaro_clip.service import Settings
from datumaro_clip.similarity import top_k
from datumaro_clip.store import create_store, open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS
from datumaro_clip.vectors import ItemKey

ENCODER = FakeEncoder()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory):
    patch = pytest.MonkeyPatch()
    patch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours_store(tmp_path_factory.mktemp("stores") / "colours")


@pytest.fixture(scope="module")
def client(store: Path, cache: None, engine: str | None):
    with client_of(store, settings=Settings(engine=engine)) as client:
        yield client


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory, cache: None, engine: str | None):
    red, green, blue = COLOURS["red"], COLOURS["green"], COLOURS["blue"]
    items: dict[ItemKey, Any] = {
        ItemKey("both", "s"): {
            "colour": COLOURS["grey"],
            "objects": [("chair", 0.9, blue, (0, 0, 10, 10)), ("lamp", 0.4, red, (20, 20, 40, 45))],
        },
        ItemKey("sure lamp", "s"): {"colour": COLOURS["grey"], "objects": [("lamp", 0.8, green, (5, 5, 25, 30))]},
        ItemKey("drawn", "s"): {"colour": COLOURS["white"], "objects": [("chair", None, red, (1, 2, 31, 42))]},
        ItemKey("nothing", "s"): {"colour": red},
    }
    path = make_store(tmp_path_factory.mktemp("stores") / "objects", items, ENCODER)
    with client_of({"objects": path}, settings=Settings(engine=engine)) as client:
        yield client


def ids(answer: Any) -> list[str]:
    """The ids of an answer's items; fails with the answer if it is an error."""
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()]


def test_hits_are_those_of_the_stored_vectors_in_their_order(client: TestClient, store: Path):
    answer = client.post("/search", json={"query": "a red thing", "top_k": 10}).json()
    with open_store(store) as reader:
        rows, scores = top_k(ENCODER.embed_texts(["a red thing"]), reader.matrix(), 10)
        keys = list(reader.keys())
    assert [(hit["id"], hit["subset"]) for hit in answer] == [tuple(keys[row]) for row in rows[0]]
    np.testing.assert_allclose([hit["score"] for hit in answer], scores[0], atol=1e-6)
    assert answer[0]["id"] == "red"


def test_the_engines_own_time_is_measured_where_it_tells_it(client: TestClient, engine: str | None):
    client.post("/search", json={"query": "a red thing", "tags": ["warm"]})
    is_told = "datumaro_clip_engine_seconds_count{" in client.get("/metrics").text
    assert is_told == (engine is not None and engine.startswith("http"))


def test_get_and_post_give_the_same(client: TestClient):
    posted = client.post("/search", json={"query": "red", "top_k": 3}).json()
    assert client.get("/search/text", params={"q": "red", "k": 3}).json() == posted
    assert len(posted) == 3


def test_an_answer_is_the_bare_list_that_is_documented(client: TestClient):
    [hit] = client.post("/search", json={"query": "red", "top_k": 1}).json()
    assert list(hit) == ["image_url", "image_id", "store", "subset", "id", "metadata", "score"]
    assert hit["image_url"] == "http://127.0.0.1:8000/images/colours/train/red/3.png"
    assert hit["metadata"] == {
        "title": "red",
        "captions": ["a red thing"],
        "labels": [],
        "attributes": {"number": 3, "name": "red", "clip_added": "2026-01-04T00:00:00Z"},
        "tags": ["warm"],
        "added": "2026-01-04T00:00:00Z",
        "size": [48, 48],
        "alignment": pytest.approx(
            float(ENCODER.embed_texts(["a red thing"])[0] @ ENCODER.embed_images([picture(COLOURS["red"])])[0]),
            abs=1e-5,
        ),
    }


def test_each_picture_opens_under_its_url(client: TestClient):
    for hit in client.post("/search", json={"query": "red", "top_k": 10}).json():
        answer = client.get(hit["image_url"])
        assert answer.status_code == 200
        assert Image.open(io.BytesIO(answer.content)).getpixel((0, 0)) == COLOURS[hit["id"]]


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({}, set(COLOURS)),
        ({"subsets": []}, set(COLOURS)),
        ({"subsets": ["train"]}, {"white", "red", "blue", "cyan", "orange"}),
        ({"subsets": ["nowhere"]}, set()),
        ({"tags": ["warm"]}, {"red", "orange", "yellow"}),
        ({"tags": ["warm", "cold"]}, set(COLOURS)),
        ({"tags": ["warm"], "subsets": ["train"]}, {"red", "orange"}),
        ({"date_range": {"from": "2026-01-09T00:00:00Z"}}, {"magenta", "orange"}),
        ({"date_range": {"to": "2026-01-02T00:00:00"}}, {"black"}),
        ({"date_range": {"from": "2026-01-02T01:00:00+01:00", "to": "2026-01-03T00:00:00Z"}}, {"white"}),
        ({"attributes": {"number": 3}}, {"red"}),
        ({"attributes": {"number": [3, 4]}}, {"red", "green"}),
        ({"attributes": {"number": "3"}}, set()),
        ({"attributes": {"name": "red", "number": 4}}, set()),
        ({"attributes": {"unknown": 1}}, set()),
        ({"text": "A RED th"}, {"red"}),
        ({"width": {"from": 48, "to": 49}}, set(COLOURS)),
        ({"width": {"to": 48}}, set()),
        ({"annotated": True}, set()),
        ({"annotated": False, "tags": ["warm"]}, {"red", "orange", "yellow"}),
    ],
)
def test_filters_let_through_what_they_say(client: TestClient, filters: dict[str, Any], passing: set[str]):
    answer = client.post("/search/hybrid", json={"text_query": "red", "top_k": 100, **filters})
    assert set(ids(answer)) == passing


def test_a_range_of_alignment_is_half_open(client: TestClient):
    scores = {h["id"]: h["metadata"]["alignment"] for h in client.get("/search/text?q=red&k=10").json()}
    limit = sorted(scores.values())[4]
    answer = client.post("/search", json={"query": "red", "top_k": 10, "alignment": {"from": limit - 1e-6}})
    assert set(ids(answer)) == {id for id, score in scores.items() if score >= limit}


def test_class_and_confidence_must_hold_of_the_same_object(objects: TestClient):
    def found(**filters: Any) -> list[str]:
        return sorted(ids(objects.post("/search/hybrid", json={"text_query": "red", **filters})))

    assert found(yolo_classes=["lamp"]) == ["both", "sure lamp"]
    assert found(min_confidence=0.7) == ["both", "drawn", "sure lamp"]
    assert found(yolo_classes=["lamp"], min_confidence=0.7) == ["sure lamp"]
    assert found(yolo_classes=["chair"], min_confidence=1.0) == ["drawn"]


def test_pictures_are_ranked_by_their_best_object(objects: TestClient):
    answer = objects.post("/search/objects", json={"query": "red"}).json()
    assert [hit["id"] for hit in answer][:2] == ["both", "drawn"]
    assert "nothing" not in [hit["id"] for hit in answer]
    first = answer[0]
    assert [(o["class_name"], o["annotation"]) for o in first["objects"]] == [("lamp", 1), ("chair", 0)]
    assert first["objects"][0]["bbox"] == {"x1": 20, "y1": 20, "x2": 40, "y2": 45}
    assert first["score"] == first["objects"][0]["score"]
    assert answer[1]["objects"][0]["confidence"] == 1.0


def test_objects_that_do_not_match_are_not_in_the_answer(objects: TestClient):
    answer = objects.post("/search/objects", json={"query": "red", "yolo_classes": ["chair"]}).json()
    assert [[o["class_name"] for o in hit["objects"]] for hit in answer] == [["chair"], ["chair"]]
    assert answer[0]["id"] == "drawn"


def test_a_flat_list_has_one_entry_an_object(objects: TestClient):
    answer = objects.post("/search/objects", json={"query": "red", "group": False, "top_k": 3}).json()
    assert len(answer) == 3
    assert {(hit["id"], hit["annotation"]) for hit in answer[:2]} == {("both", 1), ("drawn", 0)}
    assert all("objects" not in hit for hit in answer)


def test_captions_are_found_with_the_text_that_fits(client: TestClient):
    hit = client.post("/search", json={"query": "a blue thing", "target": "captions", "top_k": 1}).json()[0]
    assert (hit["id"], hit["caption"]["text"], hit["caption"]["annotation"]) == ("blue", "a blue thing", 0)
    assert hit["score"] == pytest.approx(1, abs=1e-5)


def test_a_target_that_no_store_has_says_how_to_get_it(client: TestClient):
    answer = client.post("/search/objects", json={"query": "red"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "target")
    assert "clip_embed" in answer.json()["error"]["message"]


def test_an_uploaded_picture_finds_itself(client: TestClient):
    data = {"file": ("anything.exe", picture(COLOURS["green"]), "text/html")}
    answer = client.post("/search/similar", files=data, data={"top_k": "2"})
    assert ids(answer)[0] == "green"
    assert len(answer.json()) == 2


def test_an_item_finds_others_but_not_itself(client: TestClient):
    answer = client.post("/search/similar", json={"id": "red", "top_k": 20})
    assert len(ids(answer)) == 9
    assert "red" not in ids(answer)


def test_an_object_is_searched_for_by_its_own_vector(objects: TestClient):
    answer = objects.post("/search/similar", json={"id": "both", "annotation": 1, "target": "pictures"})
    assert ids(answer)[0] == "nothing"
    missing = objects.post("/search/similar", json={"id": "both", "annotation": 7})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "annotation")


@pytest.mark.parametrize("kind", ["clip_hdf5", "clip_mmap"])
def test_ids_of_any_kind_are_found_shown_and_removed(tmp_path: Path, cache: None, kind: str):
    colours = list(COLOURS.values())
    items = {ItemKey(id, "ü/b c"): {"colour": colours[n % 10]} for n, id in enumerate(STRANGE_IDS)}
    path = make_store(tmp_path / "strange", items, ENCODER, kind=kind)
    with client_of(path) as client:
        hits = client.post("/search", json={"query": "red", "top_k": 100}).json()
        assert {hit["id"] for hit in hits} == set(STRANGE_IDS)
        for hit in hits:
            assert client.get(hit["image_url"]).status_code == 200, hit
            assert client.get(f"/thumbnails/{hit['image_id']}?size=64").status_code == 200, hit
            assert client.get(f"/record/{hit['image_id']}").json()["id"] == hit["id"]
        # The test client decodes a path twice; the real server is asked for the one with a % in tests of its own.
        named = [id for id in STRANGE_IDS if id and "%" not in id and not {".", ".."} & set(id.split("/"))]
        for id in named:
            assert client.get(f"/record/{quote(id, safe='')}").json()["id"] == id
        for hit in hits:
            assert client.delete(f"/record/{hit['image_id']}").status_code == 200
        assert client.get("/record/a%2Fb").status_code == 404
        assert client.get("/stats").json()[0]["items"] == 0
    with open_store(path) as reader:
        assert len(reader) == 0


def test_an_id_of_several_items_gets_the_candidates(tmp_path: Path, cache: None):
    items = {ItemKey("x", subset): {"colour": COLOURS[subset]} for subset in ("red", "blue")}
    stores = {name: make_store(tmp_path / name, items, ENCODER) for name in ("one", "two")}
    with client_of(stores) as client:
        answer = client.get("/record/x")
        assert answer.status_code == 409
        assert {c["image_id"] for c in answer.json()["candidates"]} == {
            f"{store}/{subset}/x" for store in stores for subset in ("red", "blue")
        }
        assert client.get("/record/x", params={"store": "one"}).status_code == 409
        assert client.get("/record/x", params={"store": "one", "subset": "red"}).json()["image_id"] == "one/red/x"
        assert client.post("/search/similar", json={"id": "x"}).status_code == 409


def test_several_stores_answer_as_one_by_score(tmp_path: Path, cache: None):
    one = make_store(tmp_path / "one", {ItemKey("a", "s"): {"colour": COLOURS["red"]}}, ENCODER)
    two = make_store(tmp_path / "two", {ItemKey("b", "s"): {"colour": COLOURS["orange"]}}, ENCODER)
    with client_of({"one": two, "two": one}) as client:
        answer = client.post("/search", json={"query": "red"}).json()
        assert [(hit["store"], hit["id"]) for hit in answer] == [("two", "a"), ("one", "b")]
        assert ids(client.post("/search", json={"query": "red", "stores": ["one"]})) == ["b"]
        assert client.post("/search", json={"query": "red", "stores": ["three"]}).status_code == 404


def test_an_empty_store_finds_nothing(tmp_path: Path, cache: None):
    path = make_store(tmp_path / "empty", {}, ENCODER)
    with client_of(path) as client:
        assert client.post("/search", json={"query": "red"}).json() == []
        assert client.post("/search/objects", json={"query": "red"}).json() == []
        assert client.get("/stats").json()[0]["alignment"]["count"] == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": "\x1d\ufeff"}, "query"),
        ({"query": "x" * 2001}, "query"),
        ({"query": "x", "top_k": 0}, "top_k"),
        ({"query": "x", "top_k": 1001}, "top_k"),
        ({"query": "x", "top_k": "many"}, "top_k"),
        ({"query": "x", "topk": 3}, "topk"),
        ({"query": "x", "target": "clouds"}, "target"),
        ({"query": "x", "min_confidence": 2}, "min_confidence"),
        ({"query": "x", "date_range": {"from": "yesterday"}}, "date_range.from"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_repeated(client: TestClient, body: dict[str, Any], param: str):
    answer = client.post("/search", json=body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["param"], error["type"], error["code"]) == (param, "invalid_request", 422)
    assert "/docs" in error["message"]
    assert "many" not in answer.text.replace("how many", "")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_another_process_write_is_taken_in(tmp_path: Path, cache: None):
    path = colours_store(tmp_path / "colours")
    with client_of(path, settings=Settings(reload_interval=0.02)) as client:
        before = client.get("/stores").json()[0]
        make_again = {ItemKey("new", "s"): {"colour": (250, 10, 10), "captions": ["a crimson thing"]}}
        other = make_store(tmp_path / "other", make_again, ENCODER)
        with open_store(other) as reader, create_store(path, "clip_mmap", reader.header, overwrite=True) as writer:
            writer.declare(ENCODER.provenance)
            writer.add(next(reader.records()))
        while (after := client.get("/stores").json()[0])["version"] == before["version"]:
            pass
        assert (before["items"], after["items"]) == (10, 1)
        assert ids(client.post("/search", json={"query": "red"})) == ["new"]
