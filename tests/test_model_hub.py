"""Models of a hub: the real client against a stand-in on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hub_stand_in import CHUNK, COMMIT, REPOSITORY, Hub, make_handler

pytestmark = pytest.mark.export

PROGRAM = f"""
import json, sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {CHUNK}
from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.model.resolve import resolve
try:
    found = resolve(sys.argv[1], local_files_only="--local" in sys.argv)
except DatumaroClipError as exc:
    sys.exit(type(exc).__name__ + ": " + str(exc))
print(json.dumps([str(found.path), dict(found.manifest.source), found.manifest.space]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A stand-in with nothing on it yet."""
    state = Hub({})
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def asking(hub: Hub, home: Path, name: str, *options: str, **variables: str) -> dict[str, Any]:
    """Return the arguments to start a process that resolves a model from the stand-in."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "DATUMARO_CLIP_CACHE": str(home / "ours"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **variables,
    }
    return {"args": [sys.executable, "-c", PROGRAM, name, *options], "env": environment}


def ask(hub: Hub, home: Path, name: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Resolve a model in a process of its own."""
    return subprocess.run(**asking(hub, home, name, *options, **variables), capture_output=True, text=True, timeout=120)


def wait_until(holds: Callable[[], bool], seconds: float = 100) -> None:
    """Wait until a condition holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_model_is_downloaded_and_made_a_directory_once(
    hub: Hub, random_clip_combined: Path, random_clip: Path, tmp_path: Path
) -> None:
    """The commit stands in the manifest; nothing but what is needed is downloaded; offline, it is all still there."""
    hub.files = files_of(random_clip_combined) | {"README.md": b"# small", "tf_model.h5": b"x"}
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


def test_a_killed_download_is_taken_up_by_the_next_process(hub: Hub, random_clip: Path, tmp_path: Path) -> None:
    """In the middle of a file: that file begins anew, those that were whole are not asked for again."""
    hub.files = files_of(random_clip)
    hub.slow = "text_encoder.bin"
    whole = set(hub.files) - {hub.slow}
    with subprocess.Popen(**asking(hub, tmp_path, REPOSITORY), stdout=subprocess.DEVNULL) as process:
        assert hub.held.wait(100)
        wait_until(lambda: whole == {path.name for path in tmp_path.glob("hf/hub/models--*/snapshots/*/*")})
        process.kill()
    hub.slow = ""
    hub.released.set()
    hub.requests.clear()
    second = ask(hub, tmp_path, REPOSITORY)
    assert second.returncode == 0, second.stderr
    fetched = {line.rpartition("/")[2] for line in hub.requests if line.startswith("GET") and "/resolve/" in line}
    assert fetched == {"text_encoder.bin"}


def test_weights_beside_an_onnx_graph_that_had_not_arrived_are_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    """The graph alone looks like a whole model, and could never be read."""
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "onnx/text_model.onnx")
    hub.files = dict.fromkeys(names, b"{}") | {
        "onnx/vision_model.onnx": b"\n\x08location\x12\x16vision_model.onnx_data",
        "onnx/vision_model.onnx_data": b"weights",
    }
    hub.stuck = "onnx/vision_model.onnx_data"
    assert ask(hub, tmp_path, REPOSITORY).returncode == 1
    hub.stuck = ""
    hub.requests.clear()
    ask(hub, tmp_path, REPOSITORY)
    assert [line for line in hub.requests if line.startswith("GET") and line.endswith("vision_model.onnx_data")]


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
