"""The page's endpoints answer for the rows that the page sees, and write down what people decide."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image as DatumImage

import datumaro_clip.explorer
from datumaro_clip.curate import run_model
from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions, read_exceptions, write_decisions
from datumaro_clip.errors import DecisionError
from datumaro_clip.explorer.routes import routes
from datumaro_clip.host.exporting import store_dataset
from datumaro_clip.service import Settings, create_app
from datumaro_clip.store import ObjectVector, create_store, open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 210)}


def picture(colour: tuple[int, int, int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 40, (48, 64, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures; the last two are the same."""
    items = []
    for number in range(12):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = picture(COLOURS["green"], 10) if number == 11 else picture(colour, number)
        annotations = [Label(number % 3), Bbox(4, 4, 20, 20, label=number % 3), Caption(f"a {name} thing")]
        items.append(
            DatasetItem(
                f"dir/{number} é#",
                subset="val" if number % 4 == 0 else "train",
                media=DatumImage.from_numpy(pixels[..., ::-1].copy()),
                annotations=annotations,
                attributes={"shelf": number % 2},
            )
        )
    path = tmp_path_factory.mktemp("made") / "store"
    dataset = Dataset.from_iterable(items, categories=list(COLOURS), media_type=DatumImage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_model, "load_model", lambda *args, **kwargs: FakeEncoder())
        patch.setenv("DATUMARO_CLIP_CACHE", str(path.parent / "cache"))
        dataset.export(str(path), "clip_mmap", save_media=True, texts="captions")
    return path


@pytest.fixture
def store(made: Path, tmp_path: Path, encoder: FakeEncoder) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture
def page(store: Path, encoder: FakeEncoder) -> Iterator[TestClient]:
    with TestClient(create_app({"store": store}, encoder), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def shown(made: Path) -> Iterator[TestClient]:
    """The page of a store about which no test decides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATUMARO_CLIP_CACHE", str(made.parent / "cache"))
        with TestClient(create_app({"store": made}, FakeEncoder()), base_url="http://localhost") as client:
            yield client


def overview(page: TestClient) -> dict[str, Any]:
    return page.get("/explore/api/overview").json()


def columns(page: TestClient) -> dict[str, Any]:
    told = overview(page)
    data = page.get("/explore/api/columns", params={"version": told["version"]}).content
    found = {}
    for spec in told["columns"]:
        found[spec["name"]] = (
            spec,
            [np.frombuffer(data, part["dtype"], part["length"], part["offset"]) for part in spec["parts"]],
        )
    return found


def keys(page: TestClient) -> list[tuple[str, str]]:
    ids = page.get("/explore/api/ids", params={"version": overview(page)["version"]}).json()
    spec, [subsets] = columns(page)["subset"]
    return [(id, spec["values"][code]) for id, code in zip(ids, subsets, strict=True)]


def test_the_page_and_its_files_are_served_with_a_policy(shown: TestClient):
    answer = shown.get("/explore")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for name in ("js/main.js", "style.css", "vendor/htm-preact-3.1.1.js", "icon.svg"):
        assert shown.get(f"/explore/static/{name}").status_code == 200
    wanted = re.findall(r'rel="modulepreload" href="explore/static/\w+/([^"]+)"', answer.text)
    static = Path(datumaro_clip.explorer.__file__).parent / "static"
    assert sorted(wanted) == sorted(path.relative_to(static).as_posix() for path in static.rglob("*.js"))
    [sheet] = re.findall(r'rel="stylesheet" href="([^"]+)"', answer.text)
    assert "immutable" in shown.get(f"/{sheet}").headers["cache-control"]
    styles = shown.get(f"/{sheet}").text
    assert set(re.findall(r"var\((--[\w-]+)\)", styles)) <= set(re.findall(r"^  (--[\w-]+):", styles, re.M))
    assert shown.get("/explore/static/style.css").headers["cache-control"] == "no-cache"
    tag = shown.get("/explore/static/style.css").headers["etag"]
    assert shown.get("/explore/static/style.css", headers={"If-None-Match": tag}).status_code == 304


def test_the_page_has_its_data_asked_for_with_its_modules(page: TestClient):
    """What is asked for early is what the page then asks for."""
    assert page.get("/explore").headers["link"].count("rel=preload") == 1
    version = overview(page)["version"]
    early = re.findall("<([^>]+)>", page.get("/explore?store=store").headers["link"])
    assert early == [
        "explore/api/overview?store=store",
        f"explore/api/columns?version={version}&store=store",
        f"explore/api/ids?version={version}&store=store",
    ]
    for path in early:
        assert page.get(f"/{path}").status_code == 200


@pytest.mark.parametrize(
    "name", ["", "../routes.py", "js/../../routes.py", "vendor/htm-preact-3.1.1.d.ts", "nothing.js"]
)
def test_no_other_file_is_served(shown: TestClient, name: str):
    assert shown.get(f"/explore/static/{name}").status_code == 404


def test_columns_say_what_the_store_holds(shown: TestClient):
    found = columns(shown)
    told = keys(shown)
    spec, [subset] = found["subset"]
    assert [spec["values"][code] for code in subset] == [subset for _, subset in told]
    spec, (codes, starts) = found["class"]
    numbers = [int(id.split("/")[1].split()[0]) for id, _ in told]
    for row, number in enumerate(numbers):
        own = {spec["values"][code] for code in codes[starts[row] : starts[row + 1]]}
        assert own == {list(COLOURS)[number % 3]}
    assert found["attribute:shelf"][1][0].tolist() == [number % 2 for number in numbers]
    assert np.isfinite(found["x"][1][0]).all()
    assert len(np.unique(np.stack([found["x"][1][0], found["y"][1][0]]), axis=1).T) >= 11


def test_scores_are_those_of_the_vectors(shown: TestClient):
    version = overview(shown)["version"]
    asked = {"params": {"version": version}}
    of_row = np.frombuffer(shown.post("/explore/api/scores", json={"row": 3}, **asked).content, np.float32)
    assert of_row.argmax() == 3
    assert of_row[3] == pytest.approx(1, abs=1e-5)
    of_text = np.frombuffer(
        shown.post("/explore/api/scores", json={"text": "a red thing"}, **asked).content, np.float32
    )
    assert len(of_text) == 12
    several = shown.post("/explore/api/scores", json={"rows": [3, 3]}, **asked)
    assert np.frombuffer(several.content, np.float32).tolist() == pytest.approx(of_row.tolist(), abs=1e-5)
    assert shown.post("/explore/api/scores", json={}, **asked).status_code == 422
    buffer = BytesIO()
    Image.fromarray(picture(COLOURS["green"], 1)).save(buffer, "PNG")
    answer = shown.post("/explore/api/scores/picture", files={"file": ("p.png", buffer.getvalue())}, **asked)
    best = int(np.frombuffer(answer.content, np.float32).argmax())
    assert keys(shown)[best][0] == "dir/1 é#"
    near = shown.get("/explore/api/neighbours", params={"version": version, "row": 3, "k": 4}).json()
    assert [each["row"] for each in near] == [int(row) for row in np.argsort(-of_row, kind="stable")[1:5]]


def test_a_box_is_compared_unless_its_picture_is_gone(page: TestClient, store: Path):
    asked = {"params": {"version": overview(page)["version"]}, "json": {"row": 3, "box": 0}}
    assert page.post("/explore/api/scores", **asked).status_code == 200
    shutil.rmtree(store / "media")
    answer = page.post("/explore/api/scores", **asked)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")


def test_items_have_pictures_captions_and_boxes(shown: TestClient):
    version = overview(shown)["version"]
    [item] = shown.get("/explore/api/items", params={"version": version, "rows": "5"}).json()
    assert shown.get(item["image_url"]).status_code == 200
    assert shown.get(item["thumbnail_url"]).headers["content-type"] == "image/jpeg"
    assert item["boxes"][0]["bbox"] == {"x1": 4, "y1": 4, "x2": 24, "y2": 24}
    assert item["captions"][0]["text"].startswith("a ")
    assert -1 <= item["captions"][0]["score"] <= 1


def test_words_are_looked_for_in_captions_and_ids(shown: TestClient):
    version = overview(shown)["version"]
    mask = np.frombuffer(
        shown.get("/explore/api/words", params={"version": version, "text": "RED thing"}).content, np.uint8
    )
    assert [bool(one) for one in mask] == ["0369".find(id[4]) >= 0 and id[5] == " " for id, _ in keys(shown)]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("items", {"rows": ""}),
        ("items", {"rows": "99"}),
        ("items", {"rows": "-1"}),
        ("items", {"rows": ",".join(["1"] * 501)}),
        ("neighbours", {"row": 12}),
        ("neighbours", {"row": 1, "k": 0}),
    ],
)
def test_questions_that_make_no_sense_are_refused(shown: TestClient, path: str, asked: dict[str, Any]):
    answer = shown.get(f"/explore/api/{path}", params={"version": overview(shown)["version"], **asked})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_a_version_that_is_not_held_is_outdated(shown: TestClient):
    answer = shown.get("/explore/api/items", params={"version": "0" * 64, "rows": "1"})
    assert answer.status_code == 409
    assert answer.json()["error"]["type"] == "outdated"


def decide(page: TestClient, changes: list[dict[str, Any]], version: int) -> Any:
    return page.post(
        "/explore/api/decisions", json={"version": version, "store": overview(page)["version"], "changes": changes}
    )


def test_choices_are_written_down_and_taken_back(page: TestClient, store: Path):
    folder = store.parent / "store-decisions"
    told = keys(page)
    answer = decide(page, [{"row": 1, "action": "drop"}, {"row": 2, "action": "keep"}], 0).json()
    assert [(one["row"], one["action"]) for one in answer["choices"]] == [(1, "drop"), (2, "keep")]
    [kept] = read_exceptions(folder / "except.txt")
    assert kept == ItemKey(*told[2])
    assert {(one.key, one.action) for one in read_decisions(folder / "decisions.jsonl").decisions} == {
        (ItemKey(*told[1]), "drop"),
        (ItemKey(*told[2]), "keep"),
    }
    assert page.get("/explore/api/decisions.jsonl").content == (folder / "decisions.jsonl").read_bytes()
    undone = page.post("/explore/api/undo", json={"version": 1, "store": overview(page)["version"]}).json()
    assert (undone["choices"], undone["undoable"], undone["version"]) == ([], 0, 2)


def test_the_second_of_two_pages_is_told_what_the_first_decided(page: TestClient):
    assert decide(page, [{"row": 1, "action": "drop"}], 0).status_code == 200
    late = decide(page, [{"row": 1, "action": "keep"}], 0)
    assert late.status_code == 409
    assert late.json()["error"]["type"] == "conflict"
    now = page.get("/explore/api/decisions", params={"version": overview(page)["version"]}).json()
    assert [one["action"] for one in now["choices"]] == ["drop"]


def test_tags_are_a_column_from_then_on(page: TestClient):
    answer = decide(
        page, [{"row": 4, "action": "tag", "tag": "night"}, {"row": 5, "action": "tag", "tag": "night"}], 0
    ).json()
    answer = decide(page, [{"row": 4, "action": "untag", "tag": "night"}], answer["version"]).json()
    tags = answer["tags"]
    assert tags["values"] == ["night"]
    assert np.flatnonzero(np.diff(tags["starts"])).tolist() == [5]
    for version in (2, 3):
        answer = page.post("/explore/api/undo", json={"version": version, "store": overview(page)["version"]}).json()
    assert answer["tags"]["data"] == []


def test_a_column_of_tags_is_sent_only_where_tags_were_changed(page: TestClient):
    """It has a number for every item of the store, and would go with every click."""
    assert "tags" not in decide(page, [{"row": 4, "action": "drop"}], 0).json()


def test_a_tool_is_run_and_its_proposals_are_reviewed(page: TestClient, store: Path):
    version = overview(page)["version"]
    asked = {"version": version, "options": {"levels": ["exact"]}}
    job = page.post("/explore/api/tools/clip_dedup", json=asked).json()["job"]
    assert page.post("/explore/api/tools/clip_dedup", json=asked).status_code == 409
    deadline = time.monotonic() + 120
    while (state := page.get(f"/explore/api/jobs/{job}").json())["state"] == "running":
        assert time.monotonic() < deadline
    assert state["state"] == "done", state
    dropped = [
        one for one in page.get("/explore/api/proposals", params={"version": version}).json() if one["action"] == "drop"
    ]
    told = keys(page)
    assert [told[one["row"]][0] for one in dropped] == ["dir/11 é#"]
    assert told[dropped[0]["keeper"]][0] == "dir/10 é#"
    decide(page, [{"row": dropped[0]["row"], "action": "drop"}], 0)
    [decision] = read_decisions(store.parent / "store-decisions" / "decisions.jsonl").decisions
    assert (decision.key.id, decision.reason) == ("dir/11 é#", "exact_duplicate")


def test_of_two_proposals_about_an_item_the_one_that_was_judged_is_obeyed(page: TestClient, store: Path):
    """Accepting one tool's label does not drop the picture because another tool proposes that."""
    key, folder = ItemKey(*keys(page)[2]), store.parent / "store-decisions"
    folder.mkdir()
    told = [
        ("clip_classify", Decision(key, "label", "classified", label="blue")),
        ("clip_outliers", Decision(key, "drop", "outlier")),
    ]
    for tool, proposal in told:
        write_decisions(folder / f"proposals-{tool}.jsonl", DecisionLog(tool, {}, None, (proposal,)))
    decide(page, [{"row": 2, "action": "accept", "tool": "clip_classify"}], 0)
    [decision] = read_decisions(folder / "decisions.jsonl").decisions
    assert (decision.key, decision.action, decision.label) == (key, "label", "blue")


def test_a_tool_with_a_wrong_option_fails_with_the_reason(page: TestClient):
    job = page.post(
        "/explore/api/tools/clip_align", json={"version": overview(page)["version"], "options": {"min_score": 7}}
    ).json()["job"]
    deadline = time.monotonic() + 120
    while (state := page.get(f"/explore/api/jobs/{job}").json())["state"] == "running":
        assert time.monotonic() < deadline
    assert state["state"] == "failed"
    assert "--min-score" in state["note"]
    assert page.post("/explore/api/tools/clip_eat", json={"version": overview(page)["version"]}).status_code == 404


def test_a_run_is_cancelled(page: TestClient, store: Path):
    job = page.post("/explore/api/tools/clip_dedup", json={"version": overview(page)["version"]}).json()["job"]
    assert page.delete(f"/explore/api/jobs/{job}").status_code == 204
    assert page.get(f"/explore/api/jobs/{job}").json()["state"] == "cancelled"
    assert not (store.parent / "store-decisions" / "proposals-clip_dedup.jsonl").exists()


def test_rows_are_exported_as_a_dataset(page: TestClient, store: Path):
    asked = {"version": overview(page)["version"], "rows": [0, 3], "format": "coco", "path": "some"}
    path = Path(page.post("/explore/api/export", json=asked).json()["path"])
    assert path == store.parent / "store-decisions" / "exports" / "some"
    told = keys(page)
    exported = Dataset.import_from(str(path), "coco")
    assert {(item.id, item.subset) for item in exported} == {tuple(told[0]), tuple(told[3])}
    assert page.post("/explore/api/export", json=asked).status_code == 422
    for bad in ({"path": "../out"}, {"path": "a/b"}, {"format": "nothing", "path": "x"}, {"rows": [99], "path": "x"}):
        assert page.post("/explore/api/export", json={**asked, **bad}).status_code == 422


def test_a_report_is_reviewed_on_the_page(store: Path, encoder: FakeEncoder, tmp_path: Path):
    dataset = Dataset.import_from(str(store), "clip_mmap")
    assert len(dataset.transform("clip_dedup", levels=["exact"], report=str(tmp_path / "report"))) == 11
    app = create_app({"store": store}, encoder, pages=[partial(routes, report=tmp_path / "report")])
    with TestClient(app, base_url="http://localhost") as page:
        version = overview(page)["version"]
        proposed = page.get("/explore/api/proposals", params={"version": version}).json()
    assert sum(one["action"] == "drop" for one in proposed) == 1


def test_a_report_of_another_dataset_is_refused(store: Path, encoder: FakeEncoder, tmp_path: Path):
    other = Decision(ItemKey("elsewhere", "train"), "drop", "by_hand")
    (tmp_path / "report").mkdir()
    write_decisions(tmp_path / "report" / "decisions.jsonl", DecisionLog("clip_dedup", {}, None, (other,)))
    page = partial(routes, report=tmp_path / "report")
    with pytest.raises(DecisionError, match="elsewhere@train"):
        create_app({"store": store}, encoder, pages=[page])
    write_decisions(tmp_path / "report" / "decisions.jsonl", DecisionLog("clip_dedup", {}, "sha256:other", ()))
    with pytest.raises(DecisionError, match="sha256:other"):
        create_app({"store": store}, encoder, pages=[page])


def test_a_dataset_becomes_a_store_with_its_captions(store: Path, encoder: FakeEncoder, tmp_path: Path):
    Dataset.import_from(str(store), "clip_mmap").export(str(tmp_path / "coco"), "coco", save_media=True)
    made = store_dataset(f"{tmp_path / 'coco'}:coco")
    with open_store(made) as reader:
        assert (len(reader), reader.caption_count) == (12, 12)
    assert store_dataset(f"{tmp_path / 'coco'}:coco") == made


def test_a_service_that_only_reads_refuses_decisions(store: Path, encoder: FakeEncoder):
    with TestClient(
        create_app({"store": store}, encoder, Settings(read_only=True)), base_url="http://localhost"
    ) as page:
        assert decide(page, [{"row": 1, "action": "drop"}], 0).status_code == 403
        assert json.loads(page.get("/explore/api/overview").content)["writable"] is False


def test_a_group_is_split_in_the_journal_and_in_nothing_that_is_applied(page: TestClient, store: Path):
    changes = [{"row": row, "action": "split", "group": 7} for row in (1, 2)]
    answer = decide(page, [*changes, {"row": 1, "action": "drop"}], 0).json()
    assert [(one["row"], one["action"], one.get("group")) for one in answer["choices"]] == [
        (1, "drop", None),
        (1, "split", 7),
        (2, "split", 7),
    ]
    [decision] = read_decisions(store.parent / "store-decisions" / "decisions.jsonl").decisions
    assert decision.action == "drop"
    assert decide(page, [{"row": 1, "action": "split"}], answer["version"]).status_code == 422
    again = create_app({"store": store}, FakeEncoder())
    with TestClient(again, base_url="http://localhost") as later:
        told = later.get("/explore/api/decisions", params={"version": overview(later)["version"]}).json()
    assert told["choices"] == answer["choices"]


def vectors_of(store: Path) -> np.ndarray:
    with open_store(store) as reader:
        return np.stack([np.asarray(record.embedding, np.float32) for record in reader.records()])


def test_overlap_is_that_of_the_most_similar_other_items(shown: TestClient, made: Path):
    told = shown.get("/explore/api/overlap", params={"version": overview(shown)["version"]}).json()
    subsets = np.array([subset for _, subset in keys(shown)])
    assert told["subsets"] == ["train", "val"]
    assert told["probes"] == [int((subsets == name).sum()) for name in told["subsets"]]
    similar = vectors_of(made) @ vectors_of(made).T
    np.fill_diagonal(similar, -np.inf)
    for row, one in enumerate(told["subsets"]):
        for column, other in enumerate(told["subsets"]):
            best = similar[np.ix_(subsets == one, subsets == other)].max(axis=1)
            assert told["nearest"][row][column] == pytest.approx(float(np.median(best)), abs=1e-5)
            assert told["alike"][row][column] == pytest.approx(float((best >= told["alike_from"]).mean()), abs=1e-5)


def test_coverage_is_that_of_the_best_match_among_the_rows(shown: TestClient, made: Path):
    version = overview(shown)["version"]
    told = shown.post("/explore/api/coverage", json={"version": version, "rows": [0, 3]}).json()
    vectors = vectors_of(made)
    best = (vectors @ vectors[[0, 3]].T).max(axis=1)
    assert told["chosen"]["mean"] == pytest.approx(float(best.mean()), abs=1e-5)
    assert told["chosen"]["low"] == pytest.approx(float(np.quantile(best, 0.05)), abs=1e-5)
    assert sum(told["chosen"]["bins"]) == sum(told["random"]["bins"]) == told["probes"] == told["of"] == 12
    assert shown.post("/explore/api/coverage", json={"version": version, "rows": []}).status_code == 422
    assert shown.post("/explore/api/coverage", json={"version": version, "rows": [12]}).status_code == 422


def test_a_store_without_objects_has_no_map_of_them(shown: TestClient):
    told = overview(shown)
    assert told["objects"] == 0
    answer = shown.get("/explore/api/objects", params={"version": told["version"]})
    assert answer.status_code == 422
    assert "--target objects" in answer.json()["error"]["message"]


def test_objects_have_a_map_with_the_rows_of_their_pictures(store: Path, encoder: FakeEncoder, tmp_path: Path):
    with open_store(store) as reader:
        records = [
            replace(record, objects=(ObjectVector(1, record.embedding, (4, 4, 24, 24), list(COLOURS)[row % 3], 0.5),))
            for row, record in enumerate(reader.records())
        ]
        header = reader.header
    with create_store(tmp_path / "objects", "clip_mmap", header) as writer:
        for record in records:
            writer.add(record)
    with TestClient(create_app({"store": tmp_path / "objects"}, encoder), base_url="http://localhost") as page:
        version = overview(page)["version"]
        told = page.get("/explore/api/objects", params={"version": version}).json()
        data = page.get("/explore/api/objects/columns", params={"version": version}).content
    arrays = {
        spec["name"]: (spec, np.frombuffer(data, part["dtype"], part["length"], part["offset"]))
        for spec in told["columns"]
        for part in spec["parts"]
    }
    assert told["count"] == len(records)
    assert arrays["row"][1].tolist() == list(range(12))
    assert set(arrays["annotation"][1].tolist()) == {1}
    spec, codes = arrays["class"]
    assert [spec["values"][code] for code in codes] == [list(COLOURS)[row % 3] for row in range(12)]
    assert np.isfinite(arrays["x"][1]).all()


def test_formats_are_all_that_datumaro_writes(shown: TestClient):
    assert {"coco", "voc", "yolo", "cvat", "clip_mmap", "clip_hdf5"} <= set(shown.get("/explore/api/formats").json())
