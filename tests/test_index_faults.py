"""Real servers that are killed, refuse, or answer late; and processes that are killed while they index or push."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from index_truth import change_items, make_items, queries_like, write_items
from servers import OpenSearch, Postgres, free_ports

from datumaro_clip.errors import EngineError
from datumaro_clip.index import VectorIndex, open_index, remote, vector_index
from datumaro_clip.index.remote import RemoteEngine
from datumaro_clip.testing.records import SPACE

QUERIES = queries_like()
# Times that a process is killed: together 50.
KILLED_AT_A_FILE, KILLED_AT_A_TIME, KILLED_PUSHING_TO_POSTGRES, KILLED_PUSHING_TO_OPENSEARCH = 15, 15, 12, 8


@pytest.fixture(autouse=True)
def asked_about_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server would not be asked about so few rows; a push is to take several steps, and verifying not too long."""
    monkeypatch.setattr(remote, "_FEW_ROWS", 0)
    monkeypatch.setattr(remote, "BATCH_ITEMS", 20)
    monkeypatch.setattr(vector_index, "_QUERIES", 5)


@pytest.fixture
def filled(tmp_path: Path) -> Callable[[str], VectorIndex]:
    """Opens an index of 200 items in a server."""

    def open_in(url: str, time_limit: float = 30, count: int = 200) -> VectorIndex:
        store = tmp_path / "store"
        if not store.exists():
            write_items(store, make_items(count))
        return open_index(store, url, cache=tmp_path / "cache", time_limit=time_limit)

    return open_in


def remote_of(index: VectorIndex) -> remote.Remote:
    assert isinstance(index.engine, RemoteEngine)
    return index.engine.remote


@contextmanager
def after(index: VectorIndex, batches: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do something in the middle of a push: after so many batches."""
    upsert, sent = remote_of(index).upsert, []

    def counted(*args: object) -> None:
        if len(sent) == batches:
            do()
        sent.append(args)
        upsert(*args)

    with monkeypatch.context() as patched:
        patched.setattr(remote_of(index), "upsert", counted)
        yield


@pytest.fixture
def own_postgres(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """A server of the test's own, that it may kill."""
    server = Postgres()
    monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", server.password)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_postgres_killed_in_the_middle_of_a_push_loses_nothing(
    own_postgres: Postgres, filled: Callable[..., VectorIndex], monkeypatch: pytest.MonkeyPatch, number: int
):
    """The push fails with a clear error; the next one goes on where it was, and nothing is there twice."""
    index = filled(own_postgres.url)

    def kill() -> None:
        own_postgres.end(number)

    with after(index, 4, kill, monkeypatch), pytest.raises(EngineError, match="check the server"):
        index.sync()
    own_postgres.start()
    state = remote_of(index).state()
    assert state is not None
    assert state.digest == ""
    [progress] = state.segments.values()
    assert progress.rows == 80
    sent: list[int] = []
    with monkeypatch.context() as patched:
        upsert = remote_of(index).upsert
        patched.setattr(remote_of(index), "upsert", lambda d, s: (sent.append(d[0].row), upsert(d, s)))
        index.sync()
    assert sent[0] == 80
    assert index.verify().differences == ()


def test_postgres_refuses_a_wrong_password(
    postgres: Postgres, filled: Callable[..., VectorIndex], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """By SCRAM; the right one from a file is taken, and neither is in a message."""
    index = filled(f"{postgres.url}#wrong_password")
    monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", "wrong horse")
    with pytest.raises(EngineError, match="password authentication failed") as refused:
        index.sync()
    assert "wrong horse" not in str(refused.value)
    (tmp_path / "secret").write_text(f"{postgres.password}\n")
    monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD_FILE", str(tmp_path / "secret"))
    index.sync()
    assert index.verify().differences == ()


def test_postgres_that_answers_late_is_given_up(own_postgres: Postgres, filled: Callable[..., VectorIndex]):
    """A search ends at the time limit with a clear error, and works again afterwards."""
    index = filled(own_postgres.url, time_limit=2)
    index.sync()
    with own_postgres.connect() as other:
        other.execute("BEGIN; LOCK TABLE datumaro_clip.item IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(EngineError, match="took longer than 2 s"):
            index.search(QUERIES, 3)
        other.execute("ROLLBACK")
    assert index.search(QUERIES, 3).rows.shape == (len(QUERIES), 3)


def test_nobody_there_is_said_at_once(filled: Callable[..., VectorIndex]):
    for url in (f"postgresql://me@127.0.0.1:{free_ports(1)[0]}/db", f"http://127.0.0.1:{free_ports(1)[0]}/index"):
        with pytest.raises(EngineError, match=r"127\.0\.0\.1"):
            filled(url, time_limit=2).sync()


@pytest.fixture
def own_node(opensearch_program: Path) -> Iterator[OpenSearch]:
    """A node of the test's own, that it may kill."""
    node = OpenSearch(opensearch_program, *free_ports(1))
    try:
        node.start()
        yield node
    finally:
        node.remove()


def test_opensearch_killed_in_the_middle_of_a_push_loses_nothing(
    own_node: OpenSearch, filled: Callable[..., VectorIndex], monkeypatch: pytest.MonkeyPatch
):
    """As of PostgreSQL; and a node that comes back within the time limit does not even end the push."""
    url = f"{own_node.url}/products"
    index, patient = filled(url, time_limit=3), filled(url, time_limit=120)
    # A busy machine takes longer than three seconds to make an index.
    remote_of(patient).create(SPACE)
    with after(index, 4, own_node.end, monkeypatch), pytest.raises(EngineError, match="cannot be reached"):
        index.sync()
    own_node.start()
    state = remote_of(index).state()
    assert state is not None
    assert [progress.rows for progress in state.segments.values()] == [80]

    def restart() -> None:
        own_node.end()
        own_node.start(wait=False)

    with after(patient, 2, restart, monkeypatch):
        patient.sync()
    assert patient.verify().differences == ()

    own_node.pause()
    try:
        with pytest.raises(EngineError, match="took longer than 3 s"):
            index.search(QUERIES, 3)
    finally:
        own_node.pause(signal.SIGCONT)


class _Gate(BaseHTTPRequestHandler):
    """Answers as a server does that wants another password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="OpenSearch Security"')
        self.end_headers()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""


def test_opensearch_refuses_a_wrong_password(filled: Callable[..., VectorIndex], monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("opensearchpy")
    monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", "wrong horse")
    gate = HTTPServer(("127.0.0.1", 0), _Gate)
    thread = threading.Thread(target=gate.serve_forever)
    thread.start()
    try:
        index = filled(f"http://me@127.0.0.1:{gate.server_port}/products", time_limit=5)
        with pytest.raises(EngineError, match=r"refuses the user or the password \(401\)") as refused:
            index.sync()
        assert "wrong horse" not in str(refused.value)
    finally:
        gate.shutdown()
        thread.join()
        gate.server_close()


def test_a_cluster_of_three_loses_a_node_and_nothing_else(
    opensearch_program: Path, filled: Callable[..., VectorIndex], monkeypatch: pytest.MonkeyPatch
):
    """One is killed with -9 in the middle of a push, while two threads search: no search fails, nothing is lost."""
    http, transport = free_ports(3), free_ports(3)
    seeds = ",".join(f"127.0.0.1:{port}" for port in transport)
    nodes = [
        OpenSearch(
            opensearch_program,
            http[i],
            [
                *(f"node.name=n{i}", f"transport.port={transport[i]}", f"discovery.seed_hosts={seeds}"),
                "cluster.initial_cluster_manager_nodes=n0,n1,n2",
            ],
        )
        for i in range(3)
    ]
    try:
        for node in nodes:
            node.start(wait=False)
        nodes[0].wait(3)
        index = filled(f"http://{','.join(f'127.0.0.1:{port}' for port in http)}/products", time_limit=60, count=400)
        index.sync()
        change_items(index.path, make_items(400, 1, 400), [])
        snapshot = index.snapshot
        wanted = snapshot.search(QUERIES, 5).scores.tolist()
        done = threading.Event()

        def search() -> list[object]:
            found = []
            while not done.is_set():
                found.append(snapshot.search(QUERIES, 5).scores.tolist())
            return found

        with ThreadPoolExecutor(2) as pool:
            searching = [pool.submit(search) for _ in range(2)]
            try:
                with after(index, 5, nodes[2].end, monkeypatch):
                    index.sync()
            finally:
                done.set()
            answers = [answer for one in searching for answer in one.result()]
        assert answers
        assert [answer for answer in answers if answer != wanted] == []
        assert index.verify().differences == ()
    finally:
        for node in nodes:
            node.remove()


def killed_at(number: int, event: str, work: Callable[[], object], seconds: float | None = None) -> bool:
    """Do work in a process that is killed at the n-th event of a kind, or after a time; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(name: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if name == event:
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        # A child that ended is a zombie until it is waited for, so that nobody else can have its number.
        killer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
        killer.start()
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        killer.cancel()
        killer.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def assert_clean_whenever_killed(
    store: Path, engine: str, cache: Path, killings: list[tuple[int, str, float | None]], added: int
) -> None:
    """Change the store, kill whoever syncs it, sync again and verify; at least half of the killings must hit."""
    index = open_index(store, engine, cache=cache)
    killed = 0
    for number, (at, event, seconds) in enumerate(killings, 1):
        change_items(store, make_items(added, number, number), [make_items(1, 0, number + 100)[0].key])
        killed += killed_at(at, event, lambda: open_index(store, engine, cache=cache).sync(), seconds)
        index.sync()
        assert index.verify().differences == ()
    assert killed >= len(killings) // 2


@pytest.mark.parametrize(
    "killings",
    [
        [(5 * number, "open", None) for number in range(1, KILLED_AT_A_FILE + 1)],
        [(0, "", 0.006 * number) for number in range(1, KILLED_AT_A_TIME + 1)],
    ],
    ids=["at a file", "at a time"],
)
def test_killed_while_syncing_leaves_nothing_that_is_believed(
    tmp_path: Path, killings: list[tuple[int, str, float | None]]
):
    """At an opening of a file, and at some moment: after the next sync the index is clean."""
    store = write_items(tmp_path / "store", make_items(150), "clip_hdf5")
    assert_clean_whenever_killed(store, "exact", tmp_path / "cache", killings, 3)


def test_killed_while_pushing_to_postgres_leaves_nothing_out(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """At some moment of a push; the next sync ends it, and the index is clean."""
    monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", postgres.password)
    store = write_items(tmp_path / "store", make_items(150))
    killings = [(0, "", 0.015 * number) for number in range(1, KILLED_PUSHING_TO_POSTGRES + 1)]
    assert_clean_whenever_killed(store, f"{postgres.url}#killed", tmp_path / "cache", killings, 60)


def test_killed_while_pushing_to_opensearch_leaves_nothing_out(opensearch: str, tmp_path: Path):
    """Before the n-th request of a push; the next sync ends it, and the index is clean."""
    store, url = write_items(tmp_path / "store", make_items(150)), f"{opensearch}/killed_{os.getpid()}"
    killings = [(2 * number, "http.client.send", None) for number in range(1, KILLED_PUSHING_TO_OPENSEARCH + 1)]
    try:
        assert_clean_whenever_killed(store, url, tmp_path / "cache", killings, 60)
    finally:
        remote_of(open_index(store, url)).remove()
