"""Each symptom of the deployment page's last table is provoked, and looks as the page says."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from commands import run_command
from served import client_of, colours_store, make_store
from starlette.testclient import TestClient

from datumaro_clip.cli import main
from datumaro_clip.errors import OptionError, SpaceMismatchError
from datumaro_clip.model.loading import load_model
from datumaro_clip.service import Settings, create_app
from datumaro_clip.store import append_to_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS
from datumaro_clip.vectors import ItemKey

PAGE = Path(__file__).parents[1] / "docs" / "deployment.md"
RED = {ItemKey("red", "s"): {"colour": COLOURS["red"]}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))


def symptoms() -> list[str]:
    """The first column, without its marks."""
    table = PAGE.read_text(encoding="utf-8").partition("| symptom |")[2]
    return [row.replace("`", "") for row in re.findall(r"^\| (.*?) \|", table.partition("---")[2], re.M)]


def a_port_that_is_taken(folder: Path) -> str:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        store = colours_store(folder / "colours", load_model("tiny"))
        done = run_command("datum-clip", "serve", store, "--model", "tiny", "--port", port)
        looked = subprocess.run(["ss", "-ltnp", f"sport = :{port}"], capture_output=True, text=True)
    assert done.returncode, done.stdout
    assert f"127.0.0.1:{port}" in looked.stdout
    return done.stdout.replace(str(port), "8000")


def an_address_of_the_network(folder: Path) -> str:
    with pytest.raises(OptionError) as refused:
        Settings(host="0.0.0.0")
    return str(refused.value)


def _asked(folder: Path, settings: Settings, **headers: str) -> str:
    """Status and error of a search that carries some headers."""
    with client_of(colours_store(folder / "colours"), settings=settings) as client:
        return _told(client, "POST", "/search", json={"query": "red"}, headers=headers)


def _told(client: TestClient, method: str, path: str, *, where: str = "", **request: Any) -> str:
    """What the page may say of an error: its status with its type, or with its message."""
    answer = client.request(method, path, **request)
    error = answer.json()["error"]
    return f"{answer.status_code} {error['type']}{where}; {answer.status_code} {error['message']}"


def a_token_that_is_none_of_them(folder: Path) -> str:
    return _asked(folder, Settings(read_token="right"), Authorization="Bearer wrong")


def another_name(folder: Path) -> str:
    return _asked(folder, Settings(), Host="search.example")


def a_page_of_another_origin(folder: Path) -> str:
    return _asked(folder, Settings(), Origin="https://pages.example")


def a_service_that_starts(folder: Path) -> str:
    client = TestClient(create_app({"colours": colours_store(folder / "colours")}, FakeEncoder()), "http://127.0.0.1")
    return _told(client, "GET", "/readyz")


def a_store_that_is_being_written(folder: Path) -> str:
    store = colours_store(folder / "colours")
    with client_of(store) as client, append_to_store(store):
        return _told(client, "DELETE", "/record/red", where=" at ingest")


def a_queue_that_is_full(folder: Path) -> str:
    with client_of(colours_store(folder / "colours"), settings=Settings(threads=1, queue=1)) as client:
        pool, begun, ended = client.app.service.pool, Event(), Event()  # type: ignore[attr-defined]

        async def occupy() -> None:
            await pool.run(lambda: begun.set() or ended.wait(30))

        busy = [client.portal.start_task_soon(occupy) for _ in range(2)]  # type: ignore[union-attr]
        begun.wait(30)
        while 'datumaro_clip_queue_depth{queue="threads"} 2.0' not in client.get("/metrics").text:
            pass
        told = _told(client, "POST", "/search", where=" at searches", json={"query": "red"})
        ended.set()
        for job in busy:
            job.result()
    return told


def a_store_without_objects(folder: Path) -> str:
    with client_of(colours_store(folder / "colours")) as client:
        assert client.get("/stores").json()[0]["objects"] == 0
        return _told(client, "POST", "/search/objects", json={"query": "red"})


def pictures_that_were_not_saved(folder: Path) -> str:
    with client_of(make_store(folder / "colours", RED, FakeEncoder(), save=False)) as client:
        [hit] = client.post("/search", json={"query": "red"}).json()
        return "image_url is null" if hit["image_url"] is None else hit["image_url"]


def a_damaged_store(folder: Path) -> str:
    store = colours_store(folder / "colours")
    with client_of(store, settings=Settings(reload_interval=0.02)) as client:
        (store / "clip_mmap.json").write_text("{}")
        while 'store_reloads_total{result="failed"}' not in client.get("/metrics").text:
            pass
        assert len(client.post("/search", json={"query": "red"}).json()) == 10
    assert main(["verify", str(store)]) == 1
    return "pictures of a dataset are old"


def a_model_of_another_space(folder: Path) -> str:
    with pytest.raises(SpaceMismatchError) as refused:
        create_app({"colours": colours_store(folder / "colours", FakeEncoder(seed=1))}, FakeEncoder())
    return f"{refused.value} at the start"


def one_place_for_several_stores(folder: Path) -> str:
    stores = {name: colours_store(folder / name) for name in ("one", "two")}
    with pytest.raises(OptionError) as refused:
        create_app(stores, FakeEncoder(), Settings(engine="postgresql://nobody@127.0.0.1/none"))
    return str(refused.value)


PROVOKED: tuple[Callable[[Path], str], ...] = (
    a_port_that_is_taken,
    an_address_of_the_network,
    a_token_that_is_none_of_them,
    another_name,
    a_page_of_another_origin,
    a_service_that_starts,
    a_store_that_is_being_written,
    a_queue_that_is_full,
    a_store_without_objects,
    pictures_that_were_not_saved,
    a_damaged_store,
    a_model_of_another_space,
    one_place_for_several_stores,
)


@pytest.mark.parametrize(("symptom", "provoke"), zip(symptoms(), PROVOKED, strict=True), ids=symptoms())
def test_a_symptom_looks_as_the_page_says(symptom: str, provoke: Callable[[Path], str], tmp_path: Path):
    told = provoke(tmp_path)
    parts = [part.strip() for part in re.split("…| in a browser| for long", symptom)]
    assert [part for part in parts if part not in told] == [], told
