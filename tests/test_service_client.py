"""The real service, with the bundled model over the drawn catalogue, as its users call it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from datumaro.components.dataset import Dataset
from served import Process, Uvicorn, client_of, colours_store, picture

from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.model.loading import load_model
from datumaro_clip.service import Settings
from datumaro_clip.tables.fetch.client import Answer
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey

PAGE = Path(__file__).parents[1] / "docs" / "service.md"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    root = tmp_path_factory.mktemp("catalogue")
    write_catalogue(root / "coco", items=200, seed=0)
    environment = {"DATUMARO_CLIP_CACHE": str(root / "cache"), "DATUMARO_CLIP_MODEL": "tiny"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        dataset = Dataset.import_from(str(root / "coco"), "coco")
        dataset.export(str(root / "products"), "clip_mmap", save_media=True, texts="captions")
    with Process(root, root / "products", **environment) as process:
        process.ready().close()
        yield process


@pytest.fixture(scope="module")
def client(service: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "label"), [("armoire chambre enfants", "wardrobe"), ("lampe torche étanche camping", "torch")]
)
def test_products_are_found_in_french_and_each_picture_opens(client: httpx.Client, query: str, label: str):
    hits = client.post("/search", json={"query": query, "top_k": 5}).json()
    assert [list(hit) for hit in hits] == [["image_url", "image_id", "store", "subset", "id", "metadata", "score"]] * 5
    assert sum(label in hit["metadata"]["labels"] for hit in hits) >= 4
    for hit in hits:
        answer = client.get(hit["image_url"])
        assert (answer.status_code, answer.headers["content-type"].split("/")[0]) == (200, "image")
        assert hit["image_url"].endswith(("/" + hit["id"] + ".jpg", "/" + hit["id"] + ".png"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="not on this machine: curl")
def test_the_curl_commands_of_the_page_run_as_printed(service: Process, tmp_path: Path):
    commands = re.findall(r"^\$ (curl .*)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(commands) > 10
    for command in commands:
        command = command.replace("http://127.0.0.1:8000", service.url).replace("curl -s", "curl -sf --noproxy '*'")
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, command
        if " -o " not in command:
            json.loads(done.stdout)


def test_uvicorn_serves_the_same_from_the_environment(client: httpx.Client, tmp_path: Path):
    store = colours_store(tmp_path / "colours", load_model("tiny"))
    told = {"DATUMARO_CLIP_SERVE_STORES": f"shop={store}", "DATUMARO_CLIP_SERVE_READ_ONLY": "yes"}
    with (
        Uvicorn(tmp_path, DATUMARO_CLIP_CACHE=str(tmp_path / "cache"), **told) as process,
        closing(process.ready()) as other,
    ):
        assert [(one["name"], one["items"], one["writable"]) for one in other.get("/stores").json()] == [
            ("shop", 10, False)
        ]
        for path in ("/explore", "/explore/static/js/main.js", "/openapi.json", "/docs"):
            mine, theirs = (each.get(path) for each in (client, other))
            assert (mine.status_code, mine.content) == (theirs.status_code, theirs.content) == (200, mine.content), path
        process.process.terminate()
        assert process.process.wait(30) in (0, -signal.SIGTERM)


def test_openais_client_gets_the_vectors_of_the_model(service: Process):
    client = openai.OpenAI(
        base_url=f"{service.url}/v1", api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False)
    )
    texts = ["a red chair", "une chaise rouge", "a red chair"]
    encoder = load_model("tiny")
    try:
        [model] = client.models.list().data
        for encoding in ("float", "base64"):
            found = client.embeddings.create(model=model.id, input=texts, encoding_format=encoding)
            vectors = [one.embedding for one in found.data]
            if encoding == "base64":
                vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in vectors]
            np.testing.assert_allclose(np.array(vectors), encoder.embed_texts(texts), atol=2e-3)
            assert [one.index for one in found.data] == [0, 1, 2]
            assert found.usage.total_tokens > 6
        # Without an encoding the client asks for base64, and decodes it.
        plain = client.embeddings.create(model=model.id, input="a red chair").data[0].embedding
        assert plain == pytest.approx(vectors[0].tolist(), abs=1e-6)
        with pytest.raises(openai.NotFoundError, match="model"):
            client.embeddings.create(model="text-embedding-3-small", input="x")
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            client.embeddings.create(model=model.id, input="x", dimensions=7)
    finally:
        client.close()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_pictures_are_embedded_from_data_uris_and_never_fetched(client: httpx.Client):
    [hit] = client.post("/search", json={"query": "a blue wardrobe", "top_k": 1}).json()
    picture = client.get(hit["image_url"]).content
    record = client.get(f"/record/{hit['image_id']}", params={"vectors": True}).json()
    asked: list[dict[str, Any]] = [
        {"input": data_uri(picture), "modality": "image"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_uri(picture)}}]}]},
    ]
    for body in asked:
        found = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
        np.testing.assert_allclose(found, record["vectors"]["picture"], atol=2e-3)
    for url in ("http://127.0.0.1:1/x.png", "file:///etc/passwd", "data:text/plain,hello", "data:image/png;base64,@@"):
        answer = client.post("/v1/embeddings", json={"input": url, "modality": "image"})
        assert answer.status_code == 400
        assert url not in answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": "x", "messages": [{"content": "y"}]}, "input"),
        (
            {"messages": [{"content": "y"}, {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages",
        ),
        ({"input": []}, None),
        ({"input": [1, 2]}, None),
        ({"input": "x" * 20_001}, "input"),
    ],
)
def test_embeddings_that_cannot_be_made_say_why(client: httpx.Client, body: dict[str, Any], param: str | None):
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code in (400, 422)
    assert param is None or answer.json()["error"]["param"] == param


def test_ids_with_percent_signs_reach_the_real_server(client: httpx.Client):
    taken = client.post(
        "/ingest/image",
        files={"file": client.get("/thumbnails/products/train/item-00183?size=64").content},
        data={"subset": "50% a/b?#"},
    ).json()
    assert taken["image_id"].startswith("products/50~25~20a~2Fb~3F~23/")
    assert client.get(taken["image_url"]).status_code == 200
    record = client.get(f"/record/{taken['image_id'].split('/')[2]}", params={"subset": "50% a/b?#"})
    assert record.json()["image_id"] == taken["image_id"]
    assert client.delete(f"/record/{taken['image_id']}").json()["deleted"] is True


def test_only_hosts_that_are_named_are_fetched_from_and_no_private_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    data = picture((255, 0, 0))
    with client_of(
        colours_store(tmp_path / "colours"), settings=Settings(allow_fetch=("pictures.example", "127.0.0.1"))
    ) as client:

        def ask(url: str) -> Any:
            return client.post("/v1/embeddings", json={"input": url, "modality": "image"})

        private = ask("http://127.0.0.1:1/x.png")
        assert (private.status_code, "forbidden_address" in private.text) == (400, True)
        asked: list[str] = []
        service = client.app.service  # type: ignore[attr-defined]

        class Far:
            def get(self, url: str) -> Answer:
                asked.append(url)
                return Answer(data=data) if url.endswith("x.png") else Answer("http_302", "moved", 302)

        vars(service.named_pictures)["_client"] = Far()
        found = ask("https://Pictures.example/x.png").json()["data"][0]["embedding"]
        np.testing.assert_allclose(found, FakeEncoder().embed_images([data])[0], atol=1e-6)
        assert ask("https://pictures.example/moved").status_code == 400
        for url in (
            "https://other.example/x.png",
            "https://pictures.example.evil.example/x.png",
            "ftp://pictures.example/x.png",
            "https://pictures.example@other.example/x.png",
            "https://[/x.png",
        ):
            assert ask(url).status_code == 400
        assert asked == ["https://Pictures.example/x.png", "https://pictures.example/moved"]


def test_a_record_tells_what_was_decided_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    drop = Decision(ItemKey("red", "train"), "drop", "by_hand", detail="too red")
    keep = Decision(ItemKey("blue", "train"), "keep")
    with client_of(colours_store(tmp_path / "colours")) as client:
        assert client.get("/record/red").json()["decisions"] == []
        write_decisions(
            tmp_path / "colours-decisions" / "decisions.jsonl", DecisionLog("by hand", {}, None, (drop, keep))
        )
        [told] = client.get("/record/red").json()["decisions"]
        assert (told["action"], told["reason"], told["detail"]) == ("drop", "by_hand", "too red")
