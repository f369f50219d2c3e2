"""``datum-clip index`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from commands import run_command
from index_truth import change_items, make_items, write_items

from datumaro_clip.index.cached import ArrayCache


def test_an_index_is_made_described_and_checked(tmp_path: Path):
    """Create, info and verify, before and after a change, and status 1 once a file is damaged."""
    store, cache = write_items(tmp_path / "store", make_items(50)), tmp_path / "cache"
    made = run_command("datum-clip", "index", "create", store, "--cache", cache)
    assert (made.returncode, made.stdout) == (0, f"{store}: 4 files of the index built, 0 reused, 0 removed\n")
    again = run_command("datum-clip", "index", "create", store, "--cache", cache)
    assert again.stdout == f"{store}: 0 files of the index built, 4 reused, 0 removed\n"
    change_items(store, make_items(9, 0, 50), [record.key for record in make_items(3)])
    told = run_command("datum-clip", "index", "info", store, "--cache", cache)
    assert told.returncode == 0
    assert "pictures   51" in told.stdout.splitlines()
    checked = run_command("datum-clip", "index", "verify", store, "--cache", cache)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, f"{store} and its index agree")
    [scales] = list(ArrayCache.of(store, cache).root.glob("objects-codes-*/scale.npy"))[:1]
    scales.write_bytes(scales.read_bytes()[:-1] + b"\x01")
    damaged = run_command("datum-clip", "index", "verify", store, "--cache", cache)
    assert damaged.returncode == 1
    assert f"{scales} contradicts its checksum" in damaged.stdout


def test_mistakes_are_one_line(tmp_path: Path):
    missing = run_command("datum-clip", "index", "create", tmp_path / "nowhere")
    assert (missing.returncode, len(missing.stdout.splitlines())) == (1, 1)
    assert "there is no embedding store" in missing.stdout
    wrong = run_command("datum-clip", "index", "destroy", tmp_path)
    assert wrong.returncode == 2
