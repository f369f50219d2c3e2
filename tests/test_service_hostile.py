"""A service that is asked anything answers in its one shape, quickly, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from served import Process, make_store, picture

from datumaro_clip.model.loading import load_model
from datumaro_clip.testing.fake_encoder import COLOURS
from datumaro_clip.vectors import ItemKey

HERE = Path(__file__).parent
# In full, on every backend, it takes some ten minutes: DATUMARO_CLIP_TEST_FUZZING=full pytest -s -k schemathesis
FULL = os.environ.get("DATUMARO_CLIP_TEST_FUZZING") == "full"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    items: dict[ItemKey, Any] = {
        ItemKey(name, "val"): {
            "colour": colour,
            "captions": [f"a {name} thing"],
            "objects": [("lamp", 0.5, colour, (1, 2, 30, 40))],
        }
        for name, colour in COLOURS.items()
    }
    (root / "secret").write_text("the secret of this machine")
    return make_store(root / "colours", items, load_model("tiny"))


@pytest.fixture(scope="module")
def service(store: Path) -> Iterator[Process]:
    with served(store) as process:
        yield process


@contextmanager
def served(store: Path, *arguments: object) -> Iterator[Process]:
    """A service of a store, which is patient for a second only."""
    root = store.parent
    arguments = (*arguments, "--max-upload", 1 << 20, "--stall-timeout", 1)
    with Process(root, store, *arguments, DATUMARO_CLIP_CACHE=str(root / "cache")) as process:
        process.ready().close()
        yield process


@pytest.mark.skipif(
    shutil.which("schemathesis") is None and not (Path(sys.executable).parent / "schemathesis").exists(),
    reason="needs schemathesis, of the extra 'test'",
)
@pytest.mark.parametrize("engine", ["exact", "postgresql", "opensearch"] if FULL else ["exact"], indirect=True)
def test_schemathesis_finds_no_fault_in_the_whole_openapi(store: Path, engine: str | None, tmp_path: Path):
    program = str(Path(sys.executable).parent / "schemathesis")
    copy = Path(shutil.copytree(store, tmp_path / "colours"))
    with served(copy, *(() if engine is None else ("--engine", engine))) as service:
        command = [program, "--config-file", str(HERE / "schemathesis.toml"), "run", f"{service.url}/openapi.json"]
        options = ["--seed", "1", "--warnings", "off", "--no-color", *(() if FULL else ("--max-time", "10", "-n", "4"))]
        environment = {**os.environ, "NO_PROXY": "*", "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")}
        done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, env=environment)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says that it is of 3.6 gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 60_000))
        + chunk(b"IEND", b"")
    )


CLIMBS = (
    "..",
    "../..",
    "..\\..",
    "....//",
    "%2e%2e",
    "..;",
    "/etc/passwd",
    "\0",
    "secret",
    "~2E~2E",
    "~00",
    "C:\\x",
    "a" * 3000,
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1.5, 1e400, "", " ", "x" * 5000, "\0", "\ud800", [], ["x"] * 2000, {}, {"a": {}}),
    *("' OR 1=1 --", "{{7*7}}", "${jndi:ldap://x}", "<script>", "NaN", [[[[]]]], {"from": "9" * 400}, float("nan")),
)
FIELDS = (
    *("query", "text_query", "top_k", "target", "stores", "subsets", "tags", "yolo_classes", "min_confidence"),
    *(
        "date_range",
        "attributes",
        "alignment",
        "width",
        "annotated",
        "text",
        "group",
        "id",
        "store",
        "annotation",
        "zzz",
    ),
)
HEADERS = (
    {"Content-Type": "application/json; charset=utf-7"},
    {"Content-Length": "-1"},
    {"Cookie": "datum_clip_session=;;;\x01"},
    {"Cookie": "datum_clip_session=write.9.9.9"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1:1@evil.example"},
    {"Origin": "http://["},
    {"Origin": "null"},
    {"X-Request-ID": "a\tb" * 99},
    {"Range": "bytes=9-1"},
    {"Range": "bytes=" + "9" * 99},
    {"If-None-Match": "*" * 4000},
    {"Authorization": "Bearer " + "x" * 5000},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Proto": "javascript"},
    {"Accept": "image/svg+xml"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Expect": "x"},
)


def requests() -> Iterator[dict[str, Any]]:
    """Five hundred requests that mean no good, the same ones each time."""
    random = Random(0)
    for climb in CLIMBS:
        for path in (
            "/images/{}",
            "/images/colours/val/{}",
            "/thumbnails/colours/{}/x",
            "/record/{}",
            "/assets/{}",
            "/explore/static/{}",
        ):
            yield {"method": "GET", "url": path.format(quote(climb, safe="%"))}
    for _ in range(230):
        body = {"query": "red", "text_query": "red", "id": "red"} if random.random() < 0.3 else {}
        body |= {random.choice(FIELDS): random.choice(VALUES) for _ in range(random.randrange(1, 4))}
        path = random.choice(
            (
                "/search",
                "/search/hybrid",
                "/search/objects",
                "/search/similar",
                "/v1/embeddings",
                "/explore/api/decisions",
            )
        )
        yield {
            "method": "POST",
            "url": path,
            "content": json.dumps(body),
            "headers": {"Content-Type": "application/json"},
        }
    for body in (
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        b"null",
        b'"x"',
        b'{"query": NaN}',
        b'{"query":"x","top_k":1e999}',
        b"\0" * 99,
    ):
        for path in ("/search", "/search/similar", "/v1/embeddings"):
            yield {"method": "POST", "url": path, "content": body, "headers": {"Content-Type": "application/json"}}
    files = (
        *(bomb(), b"", b"\0" * 2_000_000, b"GIF89a" + b"\xff" * 99, b"%!PS\nquit", b"<svg/>", picture((1, 2, 3))[:60]),
        *(
            b"\xff\xd8\xff" + b"\0" * 500,
            b"RIFF\xff\xff\xff\xffWEBPVP8 ",
            b"II*\0\xff\xff\xff\x7f",
            b"BM" + b"\xff" * 60,
        ),
    )
    for data in files:
        for path in ("/search/similar", "/analyze", "/ingest/image", "/ingest/batch"):
            yield {"method": "POST", "url": path, "files": {"file": ("../../x.php", data, "text/html")}}
    for headers in HEADERS:
        for method, path in (
            ("GET", "/stats"),
            ("POST", "/search"),
            ("DELETE", "/record/none"),
            ("GET", "/images/colours/val/red"),
        ):
            yield {
                "method": method,
                "url": path,
                "headers": headers,
                "content": b'{"query":"red"}' if method == "POST" else None,
            }
    for method in ("PUT", "PATCH", "TRACE", "OPTIONS", "CONNECT2", "get", "PROPFIND", "HEAD"):
        for path in ("/", "/search", "/record/red", "/ingest/image", "/metrics", "*"):
            yield {"method": method, "url": path if path != "*" else "/*"}
    for boundary in ("", "x" * 300, "b\r\nb", "é"):
        head = {"Content-Type": f"multipart/form-data; boundary={boundary}".encode("latin-1")}
        yield {"method": "POST", "url": "/ingest/image", "content": b"--b\r\n" * 1000, "headers": head}
        yield {
            "method": "POST",
            "url": "/analyze",
            "content": b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n",
            "headers": head,
        }


def test_five_hundred_hostile_requests_get_an_answer_and_change_nothing(service: Process):
    answered = 0
    with closing(service.ready()) as client:
        before = client.get("/stores").json()
        for request in requests():
            try:
                answer = client.request(request.pop("method"), **request)
            except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeEncodeError):
                continue  # The client itself will not send it; sockets of their own do, below.
            except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):
                answered += 1  # The server hung up on it, as it may.
                continue
            answered += 1
            assert answer.status_code != 500, (request, answer.text)
            assert "secret of this machine" not in answer.text
            assert "Traceback" not in answer.text
            if answer.status_code >= 400 and answer.content and "json" in answer.headers.get("content-type", ""):
                assert {"error", "request_id"} <= set(answer.json()), (request, answer.text)
        assert answered >= 450
        assert client.get("/stores").json() == before
        assert client.post("/search", json={"query": "red"}).status_code == 200
    log = service.log.read_text()
    assert "Traceback" not in log
    assert '"status": 500' not in log


RAW = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /images/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /assets/../access.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /stats HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"\r\n" * 5000,
)


@pytest.mark.parametrize("data", RAW, ids=range(len(RAW)))
def test_bytes_that_are_no_http_end_their_connection_only(service: Process, data: bytes):
    with closing(connected(service)) as raw:
        # The server may hang up before it has heard all.
        with suppress(ConnectionError, OSError):
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
        answer = received(raw)
    assert b"root:" not in answer
    assert b"import " not in answer
    with closing(service.ready()) as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/search", "/ingest/image", "/analyze"])
def test_a_body_that_stalls_is_given_up(service: Process, path: str):
    kind, begun = (b"application/json", b"{") if path == "/search" else (b"multipart/form-data; boundary=b", b"--b\r\n")
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n".encode()
    with closing(connected(service)) as raw:
        raw.sendall(head + b"Content-Type: " + kind + b"\r\n\r\n" + begun)
        answer = received(raw)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"timeout"' in answer


def test_half_a_body_changes_nothing(service: Process):
    with closing(service.ready()) as client:
        before = client.get("/stores").json()
        with closing(connected(service)) as raw:
            head = b"POST /ingest/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
            raw.sendall(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
        assert client.get("/stores").json() == before


def connected(service: Process) -> socket.socket:
    """A socket of the service."""
    found = urlsplit(service.url)
    assert found.hostname is not None
    return socket.create_connection((found.hostname, found.port), timeout=20)


def received(raw: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    parts = []
    try:
        while part := raw.recv(65536):
            parts.append(part)
    except (ConnectionError, TimeoutError):
        pass
    return b"".join(parts)
