"""Fetching: every row has its status once, nothing is asked for twice, and nobody is connected to who must not be."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import BIN
from datumaro.components.dataset import Dataset
from fault_server import KINDS, FaultServer, picture
from PIL import Image

from datumaro_clip import cli
from datumaro_clip.errors import OptionError, StoreWriteError, TableError
from datumaro_clip.tables.fetch.journal import Journal
from datumaro_clip.tables.fetch.run import RESULTS, FetchOptions, fetch_table
from datumaro_clip.tables.files import open_table
from datumaro_clip.tables.options import TableOptions

QUICK = FetchOptions(
    threads=8, per_host=8, retries=3, timeout=0.4, max_wait=0.01, max_bytes=100_000, allow_address=("127.0.0.1",)
)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.close()


def write_table(path: Path, urls: list[str]) -> Path:
    lines = ["n,url,caption"] + [f'{n},{url},"picture, {n}"' for n, url in enumerate(urls)]
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [row.values for row in open_table(path, TableOptions())]


def fetch(table: Path, directory: Path, **changes: Any) -> list[dict[str, Any]]:
    options = FetchOptions(**{**QUICK.__dict__, **changes})
    fetch_table(table, directory, TableOptions(), options)
    return rows(directory / table.name)


def test_a_table_of_no_rows(tmp_path: Path):
    assert fetch(write_table(tmp_path / "t.csv", []), tmp_path / "out") == []


def test_every_fault_has_its_status_and_the_rows_stay(server: FaultServer, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [f"{server.url}/{kind}/{n}" for n, kind in enumerate(KINDS)])
    found = fetch(table, tmp_path / "out")
    assert [row["error"] or "ok" for row in found] == list(KINDS.values())
    assert [{name: row[name] for name in ("n", "url", "caption")} for row in found] == rows(table)
    assert list(found[0]) == ["n", "url", "caption", *RESULTS]
    for n, row in enumerate(found):
        assert row["status"] == ("failed" if row["error"] else "ok")
        assert bool(row["path"]) == (row["status"] == "ok")
        if row["path"]:
            data = (tmp_path / "out" / row["path"]).read_bytes()
            assert data == picture(n)
            assert row["path"] == f"images/00000/{n:09d}.png"
            assert (row["sha256"], row["bytes"]) == (hashlib.sha256(data).hexdigest(), str(len(data)))
            assert (row["width"], row["height"]) == ("8", "6")
    assert {row["http_status"] for row in found} >= {"200", "404", "500", ""}
    [agent] = server.agents
    assert agent.startswith("datumaro-clip/")
    assert server.asked["/busy/2"] == 2
    assert server.asked["/broken/5"] == 4
    assert server.asked["/missing/6"] == 1


def test_no_connection_leads_to_an_address_that_is_not_allowed(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Counted at the socket: redirects, literal addresses, and a name that is private at the second look-up only."""
    connected, looked_up = [], []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def counted(self: socket.socket, address: Any) -> None:
        connected.append(address[0])
        connect(self, address)

    def changing(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebound.example":
            return look_up(host, port, *args, **kwargs)
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket.socket, "connect", counted)
    monkeypatch.setattr(socket, "getaddrinfo", changing)
    port = server.url.rpartition(":")[2]
    kinds = ["private", "metadata", "mapped", "file"]
    urls = [f"{server.url}/{kind}/1" for kind in kinds]
    urls += ["http://10.0.0.1/a.jpg", "http://[fe80::1]/a.jpg", "http://2852039166/a.jpg", "ftp://127.0.0.1/a", "//x"]
    urls += [f"http://rebound.example:{port}/ok/1"]
    found = fetch(write_table(tmp_path / "t.csv", urls), tmp_path / "out")
    assert [row["error"] for row in found] == [
        *["forbidden_address"] * 3,
        "unsupported_address",
        *["forbidden_address"] * 3,
        *["unsupported_address"] * 2,
        "",
    ]
    assert set(connected) == {"127.0.0.1"}
    assert looked_up == ["rebound.example"]


def test_without_leave_this_machine_is_not_asked(server: FaultServer, tmp_path: Path):
    [row] = fetch(write_table(tmp_path / "t.csv", [f"{server.url}/ok/1"]), tmp_path / "out", allow_address=())
    assert (row["error"], server.asked.total()) == ("forbidden_address", 0)


def test_whoever_forgot_to_allow_a_network_is_told_how_to_go_on(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    """Both options are named; the command that has them fetches what was refused."""
    command = ["fetch", str(write_table(tmp_path / "t.csv", [f"{server.url}/ok/1"])), "-o", str(tmp_path / "out")]
    with caplog.at_level("INFO"):
        assert cli.main(command) == 0
    assert "forbidden_address 1" in capsys.readouterr().out
    assert "--allow-address NETWORK" in caplog.text
    assert "--retry-failed" in caplog.text
    assert cli.main([*command, "--allow-address", "127.0.0.1", "--retry-failed"]) == 0
    assert "1 pictures" in capsys.readouterr().out


def test_what_says_noai_is_fetched_only_if_that_is_refused(server: FaultServer, tmp_path: Path):
    [row] = fetch(write_table(tmp_path / "t.csv", [f"{server.url}/noai/1"]), tmp_path / "out", ignore_noai=True)
    assert row["status"] == "ok"


def test_rows_without_an_address_and_rows_that_are_none(server: FaultServer, tmp_path: Path):
    (tmp_path / "t.csv").write_text(f"url,caption\n,a\nbad\n{server.url}/ok/1,b\nhttp://[::1,c\n")
    found = fetch(tmp_path / "t.csv", tmp_path / "out")
    assert [(row["caption"], row["error"], row["path"]) for row in found] == [
        ("a", "no_url", ""),
        ("b", "", "images/00000/000000002.png"),
        ("c", "unsupported_address", ""),
    ]


def test_pictures_are_scaled_and_encoded_anew_where_asked_for(server: FaultServer, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [f"{server.url}/ok/1"])
    [row] = fetch(table, tmp_path / "out", resize=4, image_ext=".webp")
    with Image.open(tmp_path / "out" / row["path"]) as kept:
        assert (kept.format, kept.size) == ("WEBP", (4, 3))
    assert (row["width"], row["height"]) == ("4", "3")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_other_formats_keep_their_form_and_types(form: str, server: FaultServer, tmp_path: Path):
    lines = [{"url": f"{server.url}/ok/1", "status": "mine", "n": 3}, {"url": f"{server.url}/missing/1", "n": 4}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if form == "parquet":
        Dataset.import_from(str(tmp_path / "t.jsonl"), "clip_table").export(
            str(tmp_path), "clip_table", table_format="parquet"
        )
        (tmp_path / "default.parquet").rename(tmp_path / "t.parquet")
        (tmp_path / "clip_table.toml").unlink()
    first, second = fetch(tmp_path / f"t.{form}", tmp_path / "out")
    assert (first["status"], first["fetch_status"], first["n"], first["http_status"]) == ("mine", "ok", 3, 200)
    assert (second.get("status"), second["fetch_status"], second["http_status"]) == (None, "failed", 404)


def test_the_result_is_a_dataset(server: FaultServer, tmp_path: Path):
    fetch(write_table(tmp_path / "t.csv", [f"{server.url}/{kind}/1" for kind in ("ok", "missing")]), tmp_path / "out")
    dataset = Dataset.import_from(str(tmp_path / "out"), "clip_table")
    assert [(item.media is not None, item.annotations[0].caption) for item in dataset] == [
        (True, "picture, 0"),
        (False, "picture, 1"),
    ]


def test_a_second_run_asks_for_nothing_and_failed_rows_only_if_told(server: FaultServer, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [f"{server.url}/{kind}/1" for kind in ("ok", "missing")])
    first = fetch(table, tmp_path / "out")
    assert fetch(table, tmp_path / "out") == first
    assert server.asked == {"/ok/1": 1, "/missing/1": 1}
    fetch(table, tmp_path / "out", retry_failed=True)
    assert server.asked == {"/ok/1": 1, "/missing/1": 2}


def test_another_table_or_other_options_are_refused_there(server: FaultServer, tmp_path: Path):
    table = write_table(tmp_path / "t.csv", [f"{server.url}/ok/1"])
    fetch(table, tmp_path / "out")
    with pytest.raises(OptionError, match="was begun with another resize; name another directory"):
        fetch(table, tmp_path / "out", resize=4)
    write_table(table, [f"{server.url}/ok/2"])
    with pytest.raises(OptionError, match="was begun with another table"):
        fetch(table, tmp_path / "out")


def test_a_table_without_addresses_and_a_directory_in_use_are_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="has no column of addresses; name it with --url-column, of a, b"):
        fetch(tmp_path / "t.csv", tmp_path / "out")
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".fetch.lock"), pytest.raises(StoreWriteError, match="another process fetches"):
        fetch(write_table(tmp_path / "t.csv", []), tmp_path / "out")


def test_a_line_that_a_kill_cut_off_is_forgotten(tmp_path: Path):
    journal = Journal(tmp_path / "j", {"table": "x"})
    journal.append([{"row": 5, "status": "ok"}, {"row": 2, "status": "failed"}])
    journal.close()
    whole = (tmp_path / "j").read_bytes()
    for length in range(whole.index(b"\n") + 1, len(whole) + 1):
        (tmp_path / "j").write_bytes(whole[:length])
        again = Journal(tmp_path / "j", {"table": "x"})
        known = [row for row in range(9) if row in again]
        again.append([{"row": 7, "status": "ok"}])
        again.close()
        assert known == ([2, 5] if length == len(whole) else [5] if length > whole.index(b'\n{"row": 2') else [])
        last = Journal(tmp_path / "j", {"table": "x"})
        assert last.get(7) == {"row": 7, "status": "ok"}
        last.close()


@pytest.mark.parametrize("content", [b"nonsense\n", b"[]\n", b'{"format": "other"}\n'])
def test_a_journal_of_something_else_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(OptionError, match=r"line of a journal|was begun with another"):
        Journal(tmp_path / "j", {})


def settled_rows(directory: Path) -> list[int]:
    """Rows that whole lines of the journal settle, in their order."""
    path = directory / "fetch.journal"
    lines = path.read_bytes().split(b"\n")[1:-1] if path.exists() else []
    return [json.loads(line)["row"] for line in lines]


def fetch_with_kills(directory: Path, table: Path, server_of: Any, kills: list[int]) -> tuple[Any, dict[str, int], int]:
    """Run the command until it ends, killed whenever the server was asked so often.

    Returns the server, how often each path was asked for after its row was settled, and the number of kills.
    """
    running: list[subprocess.Popen[bytes]] = []
    marks = list(kills)

    def told(count: int) -> None:
        if marks and count >= marks[0]:
            marks.pop(0)
            running[-1].send_signal(signal.SIGKILL)

    server = server_of(told)
    paths = write_urls(table, server)
    words = [str(BIN / "datum-clip"), "fetch", str(table), "-o", str(directory), "--allow-address", "127.0.0.1"]
    words += ["--timeout", "0.4", "--max-wait", "0.01", "--max-bytes", "100000", "--per-host", "8"]
    repeated: dict[str, int] = {}
    while True:
        known, before = settled_rows(directory), dict(server.asked)
        running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        code = running[-1].wait()
        for row in known:
            if again := server.asked[paths[row]] - before.get(paths[row], 0):
                repeated[paths[row]] = again
        if code == 0:
            return server, repeated, len(running) - 1
        assert code == -signal.SIGKILL


def write_urls(table: Path, server: FaultServer) -> list[str]:
    """Rows of every kind in turn; as many as the table's name says."""
    kinds = list(KINDS)
    paths = [f"/{kinds[n % len(kinds)]}/{n}" for n in range(int(table.stem))]
    write_table(table, [server.url + path for path in paths])
    return paths


def test_kills_cost_no_row_and_no_second_request(tmp_path: Path):
    table = tmp_path / "100.csv"
    server, repeated, killed = fetch_with_kills(tmp_path / "out", table, FaultServer, [30, 80, 130])
    server.close()
    found = rows(tmp_path / "out" / table.name)
    assert [row["error"] or "ok" for row in found] == (list(KINDS.values()) * 5)[:100]
    assert [row["n"] for row in found] == [str(n) for n in range(100)]
    assert (repeated, killed) == ({}, 3)
    assert len(settled_rows(tmp_path / "out")) == 100
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_the_command_tells_what_came_of_it(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "t.csv", [f"{server.url}/{kind}/1" for kind in ("ok", "missing")])
    assert cli.main(["fetch", "t.csv", "-o", "out", "--allow-address", "127.0.0.1"]) == 0
    assert capsys.readouterr().out == "2 rows: 1 pictures in out, 1 failed (http_404 1)\n"
    for words, told in [
        (("nowhere.csv", "-o", "out"), "nowhere.csv is no file; check the path"),
        (("t.csv", "-o", "o2", "--allow-address", "x"), "--allow-address: 'x'"),
        (("t.csv", "-o", "o2", "--image-ext", "x"), "--image-ext: no picture is written as 'x'"),
        (("t.csv", "-o", "o2", "--url-column", "x"), "has no column 'x'; it has n, url, caption"),
    ]:
        assert cli.main(["fetch", *words]) == 1
        assert told in capsys.readouterr().err
    assert os.listdir(tmp_path / "out" / "images") == ["00000"]
