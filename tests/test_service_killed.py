"""A service that is killed or told to stop loses nothing that it has acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from threading import Event

import httpx
import numpy as np
import pytest
from served import Process, colours_store, picture, wait_until_ready

from datumaro_clip.model.loading import load_model
from datumaro_clip.service.names import ImageId
from datumaro_clip.store import append_to_store, media_path, open_store

HERE = Path(__file__).parent
# Fifty take a minute or more; the variable asks for them.
KILLS = int(os.environ.get("DATUMARO_CLIP_TEST_KILLS", "4"))
UPLOADERS = 4


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], tuple[int, httpx.Client]], Callable[[], str]]]:
    """A store, a function that starts a service over it, and one that waits until it has ended."""
    store = colours_store(tmp_path / "colours")
    command = [sys.executable, str(HERE / "forked_service.py"), str(store)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert server.stdin is not None
    assert server.stdout is not None
    write, read = server.stdin, server.stdout

    def start() -> tuple[int, httpx.Client]:
        write.write("\n")
        write.flush()
        process, port = map(int, read.readline().split())
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        wait_until_ready(client)
        return process, client

    try:
        yield store, start, read.readline
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        write.close()
        read.close()


class Uploads:
    """Uploads pictures of which no two are alike, and keeps what was acknowledged.

    Attributes
    ----------
    acknowledged : dict
        Bytes by ``image_id``.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self._numbers = count()

    def until(self, client: httpx.Client, stop: Callable[[int], None]) -> None:
        """Upload from several threads until the service is gone; ``stop`` is told of each acknowledgement."""
        with ThreadPoolExecutor(UPLOADERS) as threads:
            for _ in range(UPLOADERS):
                threads.submit(self._upload, client, stop)

    def _upload(self, client: httpx.Client, stop: Callable[[int], None]) -> None:
        while True:
            data = picture(np.random.default_rng(next(self._numbers)).integers(0, 255, 3).tolist(), 33)
            try:
                answer = client.post("/ingest/image", files={"file": data})
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                self.acknowledged[answer.json()["image_id"]] = data
                stop(len(self.acknowledged))
            elif answer.json()["error"]["type"] == "not_ready":
                return

    def assert_stored(self, store: Path) -> None:
        """Every acknowledged picture is in the store, with its bytes and its vector, and the store is sound."""
        with open_store(store) as reader:
            reader.check()
            assert len(reader) >= 10 + len(self.acknowledged)
            for image_id, data in self.acknowledged.items():
                row = reader.find(ImageId.parse(image_id).key)
                assert row is not None, image_id
                record = reader.record(row)
                assert record.embedding is not None
                assert media_path(store, record.payload["media"]["file"]).read_bytes() == data


def test_no_acknowledged_picture_is_lost_when_the_service_is_killed(
    forked: tuple[Path, Callable[[], tuple[int, httpx.Client]], Callable[[], str]],
):
    store, start, ended = forked
    uploads, random = Uploads(), Random(0)
    for _ in range(KILLS):
        process, client = start()
        last = len(uploads.acknowledged) + random.randrange(1, 9)

        def kill_at(number: int, process: int = process, last: int = last) -> None:
            if number >= last:
                os.kill(process, signal.SIGKILL)

        with closing(client):
            uploads.until(client, kill_at)
        assert ended() == "ended\n"
    assert len(uploads.acknowledged) >= KILLS
    uploads.assert_stored(store)
    process, client = start()
    with closing(client):
        for image_id in uploads.acknowledged:
            assert client.get(f"/record/{image_id}").status_code == 200
    os.kill(process, signal.SIGKILL)
    assert ended() == "ended\n"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_ends_what_it_has_begun(tmp_path: Path, sent: signal.Signals):
    store = colours_store(tmp_path / "colours", load_model("tiny"))
    uploads, told = Uploads(), Event()
    with Process(tmp_path, store) as service:

        def stop_at(number: int) -> None:
            if number >= 8 and not told.is_set():
                told.set()
                service.process.send_signal(sent)

        with closing(service.ready()) as client:
            uploads.until(client, stop_at)
        assert service.process.wait(60) == 0
        assert "Traceback" not in service.log.read_text()
    uploads.assert_stored(store)
    with append_to_store(store) as writer:
        assert writer.path == store
