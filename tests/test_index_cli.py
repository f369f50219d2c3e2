"""``datum-clip index`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from commands import run_forked
from index_truth import change_items, make_items, write_items
from servers import Postgres

from datumaro_clip.index.cached import ArrayCache


def test_an_index_is_made_described_and_checked(tmp_path: Path):
    """Create, info and verify, before and after a change, and status 1 once a file is damaged."""
    store, cache = write_items(tmp_path / "store", make_items(50)), tmp_path / "cache"
    made = run_forked("datum-clip", "index", "create", store, "--cache", cache)
    assert (made.returncode, made.stdout) == (0, f"{store}: 4 files of the index built, 0 reused, 0 removed\n")
    again = run_forked("datum-clip", "index", "create", store, "--cache", cache)
    assert again.stdout == f"{store}: 0 files of the index built, 4 reused, 0 removed\n"
    change_items(store, make_items(9, 0, 50), [record.key for record in make_items(3)])
    told = run_forked("datum-clip", "index", "info", store, "--cache", cache)
    assert told.returncode == 0
    assert "pictures   51" in told.stdout.splitlines()
    checked = run_forked("datum-clip", "index", "verify", store, "--cache", cache)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, f"{store} and its index agree")
    [scales] = list(ArrayCache(store, cache).root.glob("objects-codes-*/scale.npy"))[:1]
    scales.write_bytes(scales.read_bytes()[:-1] + b"\x01")
    damaged = run_forked("datum-clip", "index", "verify", store, "--cache", cache)
    assert damaged.returncode == 1
    assert f"{scales} contradicts its checksum" in damaged.stdout


def test_mistakes_are_one_line(tmp_path: Path):
    missing = run_forked("datum-clip", "index", "create", tmp_path / "nowhere")
    assert (missing.returncode, len(missing.stdout.splitlines())) == (1, 1)
    assert "there is no embedding store" in missing.stdout
    wrong = run_forked("datum-clip", "index", "destroy", tmp_path)
    assert wrong.returncode == 2


def test_a_server_is_filled_and_checked(tmp_path: Path, postgres: Postgres):
    """Create, push twice, info, and verify before and after a change; the password comes from a file."""
    store, cache = write_items(tmp_path / "store", make_items(50)), tmp_path / "cache"
    (tmp_path / "secret").write_text(postgres.password)
    engine = f"{postgres.url}#command_line"

    def run(action: str, *more: object) -> tuple[int, str]:
        args = (action, store, "--engine", engine, "--cache", cache, *more)
        secret = str(tmp_path / "secret")
        done = run_forked("datum-clip", "index", *args, DATUMARO_CLIP_ENGINE_PASSWORD_FILE=secret)
        return done.returncode, done.stdout

    name = "127.0.0.1/postgres#command_line"
    assert run("create") == (0, f"{name} is an empty index\n")
    assert run("create") == (0, f"{name} is there already, for the same vector space\n")
    status, told = run("verify")
    assert (status, told.splitlines()[-1]) == (1, f"{store} and its index differ: 52 differences")
    assert run("push")[0] == 0
    assert run("verify")[1].endswith(f"{store} and its index agree\n")
    change_items(store, [], [make_items(1)[0].key])
    status, told = run("verify")
    assert status == 1
    assert f"{name} holds item {make_items(1)[0].key}, which the store does not" in told
    assert run("push", "--ef-construction", 64)[0] == 0
    status, told = run("info")
    assert status == 0
    assert told.splitlines()[1].split() == ["items", "49"]
    assert told.splitlines()[-1].startswith("holds      state ")
    assert run("create", "--overwrite") == (0, f"{name} is an empty index\n")
