"""Who may do what: tokens, hosts, origins, cookies, and how much may be sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, WebSocket
from served import client_of, colours_store, picture
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from datumaro_clip.errors import OptionError
from datumaro_clip.service import Settings, create_app, from_environment
from datumaro_clip.service.access import COOKIE, Tokens
from datumaro_clip.service.serving import Service
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS

READ, WRITE = "read-token", "write-token"
TOKENS = Settings(read_token=READ, write_token=WRITE)
SEARCH = {"query": "red"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    patch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield colours_store(tmp_path_factory.mktemp("stores") / "colours")
    patch.undo()


@pytest.fixture(scope="module")
def guarded(store: Path) -> Iterator[TestClient]:
    with client_of(store, settings=TOKENS) as client:
        yield client


@pytest.fixture(scope="module")
def open_to_all(store: Path) -> Iterator[TestClient]:
    with client_of(store) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_a_network_is_not_listened_on_without_a_token(host: str):
    with pytest.raises(OptionError, match="token"):
        Settings(host=host)
    assert Settings(host=host, read_token="x").host == host


@pytest.mark.parametrize(
    "wrong",
    [
        {"root_path": "x"},
        {"root_path": "/x/"},
        {"ingest_policy": "maybe"},
        {"queue": 0},
        {"max_upload": 0},
        {"threads": -1},
        {"port": -1},
        {"port": 65536},
        {"stall_timeout": 0},
        {"reload_interval": float("nan")},
        {"stop_timeout": float("inf")},
        {"cors_origin": ("*",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(OptionError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        Settings(**wrong)


def test_the_environment_sets_what_the_command_line_does_not():
    environment = {
        "DATUMARO_CLIP_SERVE_PORT": "9",
        "DATUMARO_CLIP_SERVE_MEDIA_ROOT": "/a /b",
        "DATUMARO_CLIP_SERVE_READ_ONLY": "yes",
        "DATUMARO_CLIP_READ_TOKEN": "r",
    }
    found = from_environment(environment, port=8)
    assert (found.port, found.media_root, found.read_only, found.read_token) == (8, (Path("/a"), Path("/b")), True, "r")
    with pytest.raises(OptionError, match="DATUMARO_CLIP_SERVE_PORT wants int"):
        from_environment({"DATUMARO_CLIP_SERVE_PORT": "http"})


@pytest.mark.parametrize(("text", "is_on"), [("", False), ("0", False), ("No", False), ("1", True), ("TRUE", True)])
def test_a_switch_of_the_environment_is_on_or_off(text: str, is_on: bool):
    assert from_environment({"DATUMARO_CLIP_SERVE_READ_ONLY": text}).read_only is is_on


def test_a_switch_that_is_neither_is_refused():
    """A service that shall only read must not write because of a word that nobody knows."""
    with pytest.raises(OptionError, match="DATUMARO_CLIP_SERVE_READ_ONLY wants bool, got 'ja'"):
        from_environment({"DATUMARO_CLIP_SERVE_READ_ONLY": "ja"})


@pytest.mark.parametrize("text", ["", "read", "admin x", "read a b", "\n\n"])
def test_a_token_file_that_is_none_is_refused(tmp_path: Path, text: str):
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(OptionError, match="--token-file"):
        Tokens(Settings(token_file=tmp_path / "tokens"))


def test_a_token_file_is_read(tmp_path: Path):
    (tmp_path / "tokens").write_text("# ours\nread one\nwrite two\nwrite three\n")
    tokens = Tokens(Settings(token_file=tmp_path / "tokens"))
    assert [tokens.right_of(t) for t in ("one", "two", "three", "four", "")] == ["read", "write", "write", None, None]


@pytest.mark.parametrize(
    ("headers", "read", "write"),
    [
        ({}, 401, 401),
        (bearer("wrong"), 401, 401),
        (bearer(""), 401, 401),
        ({"Authorization": READ}, 401, 401),
        ({"Authorization": f"Basic {READ}"}, 401, 401),
        (bearer(READ), 200, 403),
        ({"Authorization": f"bearer {READ}"}, 200, 403),
        (bearer(WRITE), 200, 404),
        ({"Cookie": f"{COOKIE}=write.99999999999.aa.bb"}, 401, 401),
        ({"Cookie": f"{COOKIE}=é; =;"}, 401, 401),
        ({"Cookie": f"{COOKIE}="}, 401, 401),
    ],
)
def test_tokens_open_what_they_say(guarded: TestClient, headers: dict[str, str], read: int, write: int):
    encoded = {name: value.encode() for name, value in headers.items()}
    assert guarded.post("/search", json=SEARCH, headers=encoded).status_code == read
    assert guarded.get("/metrics", headers=encoded).status_code == read
    assert guarded.delete("/record/nothing", headers=encoded).status_code == write


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login"])
def test_what_probes_and_people_ask_first_is_open(guarded: TestClient, path: str):
    assert guarded.get(path).status_code == 200


def test_a_websocket_is_refused_since_nothing_guards_it(store: Path):
    def page(service: Service) -> APIRouter:
        router = APIRouter()

        @router.websocket("/talk")
        async def talk(websocket: WebSocket) -> None:
            await websocket.accept()

        return router

    app = create_app({"colours": store}, FakeEncoder(), TOKENS, pages=[page])
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk"):
        pass


def test_a_refused_body_is_not_read(guarded: TestClient):
    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert guarded.post("/ingest/image", content=body(), headers=bearer(READ)).status_code == 403


def test_a_page_logs_in_and_its_cookie_opens_until_it_is_changed(guarded: TestClient):
    assert guarded.post("/login", data={"token": "wrong"}).status_code == 401
    answer = guarded.post("/login", data={"token": READ}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    value = cookie.split(";")[0]
    guarded.cookies.clear()
    assert guarded.post("/search", json=SEARCH, headers={"Cookie": value}).status_code == 200
    assert guarded.delete("/record/x", headers={"Cookie": value}).status_code == 403
    forged = value.replace("read.", "write.")
    assert guarded.delete("/record/x", headers={"Cookie": forged}).status_code == 401


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch):
    tokens = Tokens(TOKENS)
    session = tokens.begin_session("write")
    assert tokens.right_of_session(session) == "write"
    monkeypatch.setattr("datumaro_clip.service.access.time.time", lambda: 1e12)
    assert tokens.right_of_session(session) is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_another_name_does_not_reach_a_service_without_tokens(open_to_all: TestClient, host: str, status: int):
    assert open_to_all.get("/stores", headers={"Host": host}).status_code == status


def test_names_that_are_allowed_reach_it(store: Path):
    with client_of(store, settings=Settings(allowed_host=("search.example",))) as client:
        assert client.get("/stores", headers={"Host": "Search.example:1"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Origin": "http://127.0.0.1:8000"}, 404),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(open_to_all: TestClient, headers: dict[str, str], status: int):
    assert open_to_all.delete("/record/nothing", headers=headers).status_code == status


def test_cors_is_off_unless_an_origin_is_named(store: Path, open_to_all: TestClient):
    origin = {"Origin": "https://pages.example"}
    assert "access-control-allow-origin" not in open_to_all.get("/stores", headers=origin).headers
    with client_of(store, settings=Settings(cors_origin=("https://pages.example",))) as client:
        assert client.get("/stores", headers=origin).headers["access-control-allow-origin"] == "https://pages.example"
        assert client.post("/search", json=SEARCH, headers=origin).status_code == 200
        assert (
            "access-control-allow-origin" not in client.get("/stores", headers={"Origin": "https://b.example"}).headers
        )


def test_a_read_only_service_changes_nothing(store: Path):
    with client_of(store, settings=Settings(read_only=True)) as client:
        assert client.delete("/record/red").status_code == 403
        assert client.post("/ingest/image", files={"file": b""}).status_code == 403
        assert client.post("/search", json=SEARCH).status_code == 200


@pytest.mark.parametrize("path", ["/stores", "/nothing", "/docs", "/images/colours/train/red"])
def test_every_answer_is_typed_and_framed_by_nobody(open_to_all: TestClient, path: str):
    headers = open_to_all.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_a_body_is_bounded_while_it_arrives(store: Path):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 16
            yield b"x" * (1 << 16)

    with client_of(store, settings=Settings(max_upload=1 << 18)) as client:
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        assert client.post("/analyze", content=endless(), headers=form).status_code == 413
        large = {"file": picture(COLOURS["red"]) + b"\0" * (1 << 19)}
        answer = client.post("/analyze", files=large)
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
        assert client.post("/analyze", files={"file": picture(COLOURS["red"])}).status_code == 200


def test_a_form_has_few_parts(open_to_all: TestClient):
    many = [("file", (f"{n}.png", b"x")) for n in range(3)]
    assert open_to_all.post("/search/similar", files=many).status_code == 413
    fields = {f"field{n}": "x" for n in range(100)}
    assert open_to_all.post("/search/similar", files={"file": b"x"}, data=fields).status_code == 413
    assert open_to_all.post("/search/similar", data={"top_k": "1"}, files={"other": b"x"}).status_code == 422


@pytest.mark.parametrize("prefix", ["", "/clip", "/a/b"])
def test_everything_is_served_below_a_prefix(store: Path, prefix: str):
    with client_of(store, settings=Settings(root_path=prefix)) as client:
        [hit] = client.post(f"{prefix}/search", json={"query": "red", "top_k": 1}).json()
        assert hit["image_url"] == f"http://127.0.0.1:8000{prefix}/images/colours/train/red/3.png"
        assert client.get(hit["image_url"]).status_code == 200
        assert client.delete(f"{prefix}/record/nothing", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get(f"{prefix}/assets/swagger-ui.css").status_code == 200
        if prefix:
            assert client.get("/stores").status_code == 404
