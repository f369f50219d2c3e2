"""What operators see: probes, metrics, documentation, request ids, logs."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import client_of, colours_store, picture
from starlette.testclient import TestClient

from datumaro_clip.errors import OptionError
from datumaro_clip.service import Settings, create_app
from datumaro_clip.service.responses import STATIC
from datumaro_clip.service.running import JSONLines, listen
from datumaro_clip.testing import FakeEncoder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    patch = pytest.MonkeyPatch()
    patch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
    with client_of(colours_store(tmp_path_factory.mktemp("stores") / "colours")) as client:
        yield client
    patch.undo()


def samples(client: TestClient, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """A metric's values by their labels."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_the_template_of_their_route(client: TestClient):
    client.get("/record/red")
    client.get("/record/not-there")
    client.get("/images/colours/train/red/3.png")
    client.get("/wp-login.php")
    counted = samples(client, "datumaro_clip_http_requests_total")
    routes = {dict(labels)["route"] for labels in counted}
    assert {"/record/{id:path}", "/images/{store}/{subset}/{item}/{name}", "unmatched", "/readyz"} <= routes
    assert not any("red" in route or "wp-" in route for route in routes)
    assert counted[(("method", "GET"), ("route", "/record/{id:path}"), ("status", "404"))] == 1


def test_the_limits_that_are_promised_are_edges_of_the_buckets(client: TestClient):
    client.post("/search", json={"query": "red"})
    edges = {dict(labels)["le"] for labels in samples(client, "datumaro_clip_http_request_seconds_bucket")}
    assert {"0.01", "0.015", "0.03"} <= edges


def test_stages_cache_index_and_queues_are_measured(client: TestClient):
    for _ in range(3):
        client.post("/search", json={"query": "a green lamp"})
    stages = samples(client, "datumaro_clip_search_seconds_count")
    assert {dict(labels)["stage"] for labels in stages if dict(labels)["kind"] == "text"} == {
        "embed",
        "index",
        "rescore",
        "records",
    }
    spent = samples(client, "datumaro_clip_search_seconds_sum")
    index, rescore = (spent[(("kind", "text"), ("stage", stage))] for stage in ("index", "rescore"))
    assert 0 < rescore < index
    cache = samples(client, "datumaro_clip_text_cache_total")
    assert cache[(("result", "hit"),)] >= 2
    assert samples(client, "datumaro_clip_index_items")[(("store", "colours"), ("target", "pictures"))] == 10
    assert {dict(labels)["queue"] for labels in samples(client, "datumaro_clip_queue_depth")} == {
        *("texts", "pictures", "index", "threads"),
    }
    assert samples(client, "datumaro_clip_device_busy_seconds_total")[(("part", "texts"),)] > 0
    assert samples(client, "datumaro_clip_index_age_seconds")[(("store", "colours"),)] > 0
    assert samples(client, "process_resident_memory_bytes")[()] > 1e6


def test_a_request_keeps_the_id_that_it_brings_unless_it_could_be_misread(client: TestClient):
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1.2"}).headers["x-request-id"] == "abc-1.2"
    assert re.fullmatch("[0-9a-f]{16}", client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"])


def test_a_fault_is_told_without_its_reason_and_logged_with_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("datumaro_clip.service.routes.records.statistics", lambda _: 1 / 0)
    answer = client.get("/stats")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "internal")
    assert "division" not in answer.text
    assert "division by zero" in caplog.text


def test_a_log_line_is_json_with_what_was_given(caplog: pytest.LogCaptureFixture, client: TestClient):
    with caplog.at_level(logging.INFO, "datumaro_clip.service.requests"):
        client.get("/healthz", headers={"X-Request-ID": "mine"})
    record = next(record for record in caplog.records if getattr(record, "request_id", "") == "mine")
    line = json.loads(JSONLines().format(record))
    assert (line["route"], line["status"], line["message"], line["level"]) == ("/healthz", 200, "request", "info")
    assert line["milliseconds"] > 0


def test_the_pages_ask_nothing_of_another_machine(client: TestClient):
    for path in ("/docs", "/login"):
        answer = client.get(path)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)
        for reference in re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text):
            assert client.get(f"/{reference}").status_code == 200


def test_swagger_ui_is_as_it_was_published():
    import hashlib

    told = (Path(__file__).parents[1] / "THIRD_PARTY.md").read_text()
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert hashlib.sha256((STATIC / "swagger-ui" / name).read_bytes()).hexdigest() in told


def test_openapi_describes_every_endpoint_with_an_answer_and_its_errors(client: TestClient):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/search/similar", "/ingest/image", "/v1/embeddings", "/record/{id}"} <= set(paths)
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            answers = set(operation["responses"])
            if path not in ("/healthz", "/v1/models"):
                assert {"200", "401", "503"} <= answers, (path, method)


def test_the_page_of_endpoints_is_what_the_service_says(tools: Path):
    from make_service_api import TARGET, page

    assert TARGET.read_text(encoding="utf-8") == page(), "run python tools/make_service_api.py"


def test_a_service_that_starts_is_alive_but_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    app = create_app({"colours": colours_store(tmp_path / "colours")}, FakeEncoder())
    client = TestClient(app, base_url="http://127.0.0.1")
    assert client.get("/healthz").status_code == 200
    for answer in (client.get("/readyz"), client.post("/search", json={"query": "red"})):
        assert (answer.status_code, answer.json()["error"]["type"], answer.headers["retry-after"]) == (
            503,
            "not_ready",
            "2",
        )


def test_a_service_that_stops_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    with client_of(colours_store(tmp_path / "colours")) as client:
        service = client.app.service  # type: ignore[attr-defined]
        service.stopping = True
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200


def test_small_answers_are_sent_at_once():
    """With Nagle's algorithm each answer on a kept connection waits 40 ms; asyncio knows TCP by the protocol alone."""

    async def answered() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen(Settings(port=0))
        async with await asyncio.start_server(take, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            writer.close()
            return await found

    assert asyncio.run(answered()) == 1


def test_a_service_begins_with_a_store_that_is_not_there_if_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Otherwise the message names the option; what was taken in is there for the next service."""
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    stores = {"photos": tmp_path / "photos"}
    with pytest.raises(OptionError, match=r"nothing at .*photos.*--create"):
        create_app(stores, FakeEncoder())
    with client_of(stores, settings=Settings(create=True)) as client:
        assert client.post("/search", json={"query": "red"}).json() == []
        taken = client.post("/ingest/image", files={"file": picture((255, 0, 0))}).json()
    with client_of(stores) as client:
        assert [hit["image_id"] for hit in client.post("/search", json={"query": "red"}).json()] == [taken["image_id"]]


def test_whoever_is_told_the_address_can_connect_at_once():
    """A script reads it from the log and asks: it must not be refused because nobody listens yet."""
    with listen(Settings(port=0)) as listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()
