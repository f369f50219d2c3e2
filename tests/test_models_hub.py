"""Models of a hub: the real client against a stand-in on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.export

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/small"

# Smaller than the client's own chunk, which would make it begin small files anew.
CHUNK = 4096
BREAK_AFTER = 5 * CHUNK

PROGRAM = f"""
import json, sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {CHUNK}
from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.models import resolve
try:
    found = resolve(sys.argv[1], local_files_only="--local" in sys.argv)
except DatumaroClipError as exc:
    sys.exit(type(exc).__name__ + ": " + str(exc))
print(json.dumps([str(found.path), dict(found.manifest.source), found.manifest.space]))
"""


@dataclass
class Hub:
    """What the stand-in serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes]
    url: str = ""
    private: bool = False
    #: So many times, close the connection in the middle of a file.
    breaks: int = 0
    #: A file that never comes through.
    stuck: str = ""
    #: Leave so many bytes off each file's end, and say so in no header of the listing.
    leave_off: int = 0
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)


def make_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """The part of the hub's protocol that the client needs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if hub.private:
                return self._error(401, "RepoNotFound")
            if match := re.fullmatch(rf"/api/models/{REPOSITORY}(?:/(revision|tree)/([^/]+))?", path):
                return self._listing(match[1], match[2] or "main")
            if match := re.fullmatch(rf"/{REPOSITORY}/resolve/([^/]+)/(.+)", path):
                return self._file(match[2], body)
            return self._error(404, "RepoNotFound")

        def _listing(self, kind: str | None, revision: str) -> None:
            if revision not in ("main", COMMIT):
                return self._error(404, "RevisionNotFound")
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": sha1(data).hexdigest()}
                for name, data in hub.files.items()
            ]
            siblings = [{"rfilename": name} for name in hub.files]
            info = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
            return self._send(200, json.dumps(entries if kind == "tree" else info).encode(), {})

        def _file(self, name: str, body: bool) -> None:
            if name not in hub.files:
                return self._error(404, "EntryNotFound")
            data = hub.files[name]
            headers = {
                "ETag": f'"{sha1(data).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            start = 0
            if body and (wanted := self.headers.get("Range")):
                hub.ranges.append(wanted)
                start = int(re.fullmatch(r"bytes=(\d+)-.*", wanted)[1])  # type: ignore[index]
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            if body and name == hub.stuck:
                self.close_connection = True
                return None
            part = data[start : len(data) - hub.leave_off if body else None]
            return self._send(206 if start else 200, part, headers, body=body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool = True) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and hub.breaks and len(data) > BREAK_AFTER:
                hub.breaks -= 1
                self.wfile.write(data[:BREAK_AFTER])
                self.wfile.flush()
                self.close_connection = True
            elif body:
                self.wfile.write(data)

        def _error(self, status: int, code: str) -> None:
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A stand-in with nothing on it yet."""
    state = Hub({})
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def ask(hub: Hub, home: Path, name: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Resolve a model in a process of its own, whose hub is the stand-in."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "DATUMARO_CLIP_CACHE": str(home / "ours"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **variables,
    }
    command = [sys.executable, "-c", PROGRAM, name, *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_checkpoint_is_downloaded_and_exported_once(
    hub: Hub, random_clip_checkpoint: Path, random_clip: Path, tmp_path: Path
) -> None:
    """The commit stands in the manifest; nothing but what is needed is downloaded; offline, it is all still there."""
    hub.files = files_of(random_clip_checkpoint) | {"README.md": b"# small", "tf_model.h5": b"x"}
    first = ask(hub, tmp_path, REPOSITORY)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    _, source, space = found
    assert source == {"kind": "hub", "id": REPOSITORY, "revision": COMMIT}
    assert space == json.loads((random_clip / "manifest.json").read_text())["space"]
    assert not [line for line in hub.requests if "README" in line or "tf_model" in line]
    asked = len(hub.requests)
    for options, variables in ((["--local"], {}), ([], {"HF_HUB_OFFLINE": "1"}), ([], {})):
        again = ask(hub, tmp_path, REPOSITORY, *options, **variables)
        assert json.loads(again.stdout) == found
    assert len(hub.requests) == asked


def test_a_dropped_connection_goes_on_where_it_stopped(hub: Hub, random_clip: Path, tmp_path: Path) -> None:
    hub.files = files_of(random_clip)
    hub.breaks = 1
    whole = ask(hub, tmp_path, REPOSITORY)
    assert whole.returncode == 0, whole.stderr
    assert hub.ranges
    assert not hub.ranges[0].startswith("bytes=0-")


def test_an_interrupted_download_is_taken_up_again(hub: Hub, random_clip: Path, tmp_path: Path) -> None:
    """Files that had arrived whole are not downloaded twice."""
    hub.files = files_of(random_clip)
    hub.stuck = "text_encoder.bin"
    broken = ask(hub, tmp_path, REPOSITORY)
    assert broken.returncode == 1
    assert "ModelNotFoundError" in broken.stderr
    hub.stuck = ""
    hub.requests.clear()
    assert ask(hub, tmp_path, REPOSITORY).returncode == 0
    assert not [line for line in hub.requests if "GET" in line and "manifest.json" in line]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("someone/else", "there is no such model"),
        (f"{REPOSITORY}@v9", "it has no such revision"),
        ("not an id", "nor can it be a model's name"),
    ],
)
def test_what_the_hub_does_not_have_is_refused(
    hub: Hub, random_clip: Path, tmp_path: Path, name: str, complaint: str
) -> None:
    hub.files = files_of(random_clip)
    refused = ask(hub, tmp_path, name)
    assert refused.returncode == 1
    assert complaint in refused.stderr
    assert "Ways out: " in refused.stderr


def test_a_private_model_asks_to_log_in(hub: Hub, tmp_path: Path) -> None:
    hub.private = True
    refused = ask(hub, tmp_path, REPOSITORY)
    assert "hf auth login" in refused.stderr


def test_a_truncated_file_is_refused_and_downloaded_again(hub: Hub, random_clip: Path, tmp_path: Path) -> None:
    hub.files = files_of(random_clip)
    hub.leave_off = 100
    refused = ask(hub, tmp_path, REPOSITORY)
    assert refused.returncode == 1
    assert re.search("ModelNotFoundError|ModelFormatError", refused.stderr)
    hub.leave_off = 0
    assert ask(hub, tmp_path, REPOSITORY).returncode == 0


def test_offline_without_a_copy_says_which_option_forbids_it(hub: Hub, tmp_path: Path) -> None:
    assert "--local-files-only forbids" in ask(hub, tmp_path, REPOSITORY, "--local").stderr
    assert "HF_HUB_OFFLINE forbids" in ask(hub, tmp_path, REPOSITORY, HF_HUB_OFFLINE="1").stderr
    assert hub.requests == []


def test_a_revision_is_kept_apart_from_another(hub: Hub, random_clip: Path, tmp_path: Path) -> None:
    hub.files = files_of(random_clip)
    assert ask(hub, tmp_path, f"{REPOSITORY}@{COMMIT}").returncode == 0
    assert "it has no such revision" in ask(hub, tmp_path, f"{REPOSITORY}@{COMMIT[::-1]}").stderr
