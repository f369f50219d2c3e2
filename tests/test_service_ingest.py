"""What is acknowledged is in the store, can be searched, and is there once."""

from __future__ import annotations

import gc
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import client_of, colours_store, picture
from starlette.testclient import TestClient

from datumaro_clip.demo.catalogue import draw_item, sample_spec
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.detector import Detector
from datumaro_clip.service import Settings, create_app
from datumaro_clip.store import append_to_store, media_path, open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey

ENCODER = FakeEncoder()
PINK = (255, 105, 180)
# Of a box at 4, 8 that is 20 wide and 30 high.
CORNERS = {"x1": 4, "y1": 8, "x2": 24, "y2": 38}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["clip_hdf5", "clip_mmap"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return colours_store(tmp_path / "colours", kind=request.param)


def send(client: TestClient, data: bytes, **fields: Any) -> Any:
    """Send a picture; the answer's JSON."""
    answer = client.post("/ingest/image", files={"file": ("x.png", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def noisy(seed: int, side: int = 40) -> bytes:
    """A picture like no other."""
    return picture(np.random.default_rng(seed).integers(0, 255, 3).tolist(), side + seed % 7)


def test_what_is_acknowledged_is_stored_and_found(store: Path):
    data = picture(PINK)
    digest = hashlib.sha256(data).hexdigest()
    with client_of(store) as client:
        taken = send(client, data, caption=["a pink thing", "une chose rose"], tags="warm, new", subset="fresh")
        assert taken["image_id"] == f"colours/fresh/{digest}"
        assert (taken["created"], taken["num_detections"], taken["reasons"]) == (True, 0, [])
        [hit] = client.post("/search/similar", files={"file": data}, data={"top_k": "1"}).json()
        assert (hit["image_id"], round(hit["score"], 5)) == (taken["image_id"], 1)
        assert client.get(taken["image_url"]).content == data
        found = client.post(
            "/search/hybrid", json={"text_query": "red", "tags": ["new"], "date_range": {"from": "2026-01-20"}}
        )
        assert [hit["id"] for hit in found.json()] == [digest]
        captions = client.post("/search", json={"query": "une chose rose", "target": "captions", "top_k": 1}).json()
        assert captions[0]["caption"]["text"] == "une chose rose"
    # The store itself, around the service.
    with open_store(store) as reader:
        row = reader.find(ItemKey(digest, "fresh"))
        assert row is not None
        record = reader.record(row)
        assert media_path(store, record.payload["media"]["file"]).read_bytes() == data
        assert record.payload["media"]["size"] == [48, 48]
        assert record.payload["attributes"]["tags"] == ["warm", "new"]
        np.testing.assert_array_equal(record.embedding, ENCODER.embed_images([data])[0])
        texts = ENCODER.embed_texts(["a pink thing", "une chose rose"])
        np.testing.assert_array_equal([caption.vector for caption in record.captions], texts)
        assert max(c.score for c in record.captions) == pytest.approx(taken["alignment"], abs=1e-6)
        assert len(reader) == 11


def test_datumaro_reads_what_was_taken_in(tmp_path: Path):
    from datumaro.components.dataset import Dataset

    store = colours_store(tmp_path / "colours")
    data = picture(PINK)
    with client_of(store, detector=OneLamp()) as client:
        send(client, data, caption="a pink thing")
    item = Dataset.import_from(str(store), "clip_mmap").get(hashlib.sha256(data).hexdigest(), "ingested")
    caption, box = item.annotations
    assert caption.caption == "a pink thing"
    assert (box.get_bbox(), round(box.attributes["score"], 3)) == ([4, 8, 20, 30], 0.75)
    assert item.media.data[0, 0].tolist() == list(reversed(PINK))


def test_the_same_bytes_are_there_once(store: Path):
    data = picture(PINK)
    with client_of(store) as client:
        first = send(client, data, subset="one")
        version = client.get("/stores").json()[0]["version"]
        again = send(client, data, subset="two", caption="other")
        assert (again["image_id"], again["created"]) == (first["image_id"], False)
        assert client.get("/stores").json()[0]["version"] == version
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: send(client, noisy(1)), range(8)))
        assert len({answer["image_id"] for answer in answers}) == 1
        assert sum(answer["created"] for answer in answers) == 1
    with open_store(store) as reader:
        assert len(reader) == 12


def test_vectors_are_returned_where_asked_for(store: Path):
    data = picture(PINK)
    with client_of(store) as client:
        np.testing.assert_allclose(
            send(client, data, vectors="true")["vector"], ENCODER.embed_images([data])[0], atol=1e-6
        )


def test_a_batch_is_answered_in_its_order_each_on_its_own(store: Path):
    files = [("file", noisy(0)), ("file", b"some secret text"), ("file", noisy(1)), ("file", noisy(0))]
    with client_of(store) as client:
        first, broken, second, again = client.post("/ingest/batch", files=files).json()
        assert broken["error"]["code"] == 415
        assert "secret" not in str(broken)
        assert first["image_id"] == again["image_id"] != second["image_id"]
        assert client.get("/stores").json()[0]["items"] == 12
        assert client.post("/ingest/batch", data={"subset": "x"}, files={"other": b""}).status_code == 422


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, picture(PINK)[:-40]])
def test_what_is_no_picture_changes_nothing(tmp_path: Path, data: bytes):
    store = colours_store(tmp_path / "colours")
    with client_of(store) as client:
        version = client.get("/stores").json()[0]["version"]
        answer = client.post("/ingest/image", files={"file": data})
        assert (answer.status_code, answer.json()["error"]["type"]) == (415, "unsupported_media")
        assert client.get("/stores").json()[0]["version"] == version


BLANK = picture((9, 9, 9), side=20)


@pytest.mark.parametrize(
    ("policy", "status", "attribute"), [("accept", 200, None), ("flag", 200, "too_small, blank"), ("refuse", 422, None)]
)
def test_the_policy_decides_what_becomes_of_defects(tmp_path: Path, policy: str, status: int, attribute: str | None):
    store = colours_store(tmp_path / "colours")
    with client_of(store, settings=Settings(ingest_policy=policy)) as client:
        answer = client.post("/ingest/image", files={"file": BLANK})
        assert answer.status_code == status
        assert answer.json()["reasons"] == ["too_small", "blank"]
        if status == 200:
            record = client.get(f"/record/{answer.json()['image_id']}").json()
            assert record["attributes"].get("clip_reasons") == attribute
        assert client.get("/stores").json()[0]["items"] == (11 if status == 200 else 10)


def test_a_picture_that_shows_another_again_says_which(tmp_path: Path):
    store = colours_store(tmp_path / "colours")
    one, other = (draw_item(sample_spec(Random(seed)), 200) for seed in range(2))

    def encoded(image: Image.Image, quality: int) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    with client_of(store) as client:
        first = send(client, encoded(one, 95))
        assert first["duplicate_of"] is None
        assert send(client, encoded(one, 70))["duplicate_of"] == first["image_id"]
        assert send(client, encoded(other, 90))["duplicate_of"] is None


class OneLamp(Detector):
    """Finds a lamp in every picture."""

    fingerprint, labels = "sha256:" + "1" * 64, ("chair", "floor lamp")

    def find(self, picture: Any, options: Any) -> Detections:
        boxes = np.array([[4, 8, 24, 38]], np.float32)
        return Detections(boxes, np.array([0.75], np.float32), np.array([1]))

    def submit(self, pixel_values: Any, least: float) -> Any:
        raise NotImplementedError


def test_objects_are_found_stored_and_searchable(store: Path):
    data = picture(PINK)
    with client_of(store, detector=OneLamp()) as client:
        taken = send(client, data)
        assert taken["num_detections"] == 1
        record = client.get(f"/record/{taken['image_id']}", params={"vectors": True}).json()
        [found] = record["objects"]
        assert (found["class_name"], found["bbox"], found["has_vector"]) == ("floor lamp", CORNERS, True)
        assert found["attributes"]["clip_detector"] == OneLamp.fingerprint
        hits = client.post("/search/objects", json={"query": "pink", "yolo_classes": ["floor lamp"]}).json()
        assert [(hit["id"], hit["objects"][0]["confidence"]) for hit in hits] == [
            (taken["image_id"].split("/")[2], 0.75)
        ]
        stats = client.get("/stats").json()[0]
        assert stats["classes"]["objects"] == {"floor lamp": 1}
        assert send(client, noisy(3))["num_detections"] == 1
        assert client.get("/stats").json()[0]["classes"]["objects"] == {"floor lamp": 2}


def test_analyze_says_what_is_in_a_picture_and_stores_nothing(store: Path):
    data = picture(PINK)
    with client_of(store, detector=OneLamp()) as client:
        version = client.get("/stores").json()[0]["version"]
        answer = client.post("/analyze", files={"file": data}).json()
        assert client.get("/stores").json()[0]["version"] == version
    [found] = answer["objects"]
    assert (found["class_name"], found["bbox"], answer["size"]) == ("floor lamp", CORNERS, [48, 48])
    np.testing.assert_allclose(answer["vector"], ENCODER.embed_images([data])[0], atol=1e-6)
    assert len(found["vector"]) == ENCODER.space.dimension


def test_many_writes_leave_few_segments_and_every_item(tmp_path: Path):
    store = colours_store(tmp_path / "colours")
    with client_of(store) as client:
        ids = [send(client, noisy(seed))["image_id"] for seed in range(20)]
        stats = client.get("/stats").json()[0]
        assert stats["items"] == 30
        assert len(stats["segments"]) <= 6
        for image_id in ids:
            assert client.get(f"/record/{image_id}").status_code == 200
        client.delete(f"/record/{ids[0]}")
        send(client, noisy(99))
        assert client.get(f"/record/{ids[0]}").status_code == 404
    with open_store(store) as reader:
        reader.check()


def test_uploads_of_one_moment_are_committed_together(tmp_path: Path):
    store = colours_store(tmp_path / "colours")
    files = [("file", noisy(seed)) for seed in range(20)]
    with client_of(store) as client:
        answers = client.post("/ingest/batch", files=files).json()
        assert all(answer["created"] for answer in answers)
        service = client.app.service  # type: ignore[attr-defined]
        assert service.ingest["colours"].queue.writes.batches < 20


def test_a_store_that_another_writes_is_busy_and_takes_in_again(store: Path):
    with client_of(store) as client:
        other = append_to_store(store)
        answer = client.post("/ingest/image", files={"file": picture(PINK)})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["type"] == "busy"
        other.abort()
        assert send(client, picture(PINK))["created"]


def test_a_full_queue_of_uploads_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = colours_store(tmp_path / "colours")
    with client_of(store, settings=Settings(queue=1, threads=1)) as client, ThreadPoolExecutor(24) as threads:
        statuses = list(threads.map(lambda n: client.post("/ingest/image", files={"file": noisy(n)}), range(24)))
        assert {answer.status_code for answer in statuses} == {200, 503}
        assert all("retry-after" in answer.headers for answer in statuses if answer.status_code == 503)
        created = sum(answer.status_code == 200 for answer in statuses)
        assert client.get("/stores").json()[0]["items"] == 10 + created


def test_another_store_is_named(tmp_path: Path):
    stores = {name: colours_store(tmp_path / name) for name in ("one", "two")}
    with client_of(stores) as client:
        assert send(client, picture(PINK), store="two")["image_id"].startswith("two/")
        assert client.post("/ingest/image", files={"file": noisy(0)}, data={"store": "three"}).status_code == 404
        assert [store["items"] for store in client.get("/stores").json()] == [10, 11]


def test_a_model_of_another_space_is_refused_at_the_start(tmp_path: Path):
    from datumaro_clip.errors import OptionError, SpaceMismatchError

    store = colours_store(tmp_path / "colours")
    with pytest.raises(SpaceMismatchError):
        create_app({"colours": store}, FakeEncoder(seed=1))
    with pytest.raises(OptionError, match="at least one store"):
        create_app({}, ENCODER)


def test_a_state_of_the_store_that_nobody_uses_lets_go_of_its_files(tmp_path: Path):
    with client_of(colours_store(tmp_path / "colours")) as client:
        send(client, noisy(0))
        gc.collect()
        gc.disable()
        try:
            counts = []
            for seed in range(1, 13):
                send(client, noisy(seed))
                client.post("/search", json={"query": "red", "text": "thing", "tags": ["warm"]})
                counts.append(len(list(Path("/proc/self/fd").iterdir())))
        finally:
            gc.enable()
    # A store of few small segments has as many files now as it had then.
    assert max(counts) < counts[0] + 150
