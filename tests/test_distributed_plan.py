"""A plan's shards: the answers of one machine, whoever makes them, however often they are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from commands import BIN
from shards import decisions, planned, require_same

from datumaro_clip.cli import main
from datumaro_clip.curate.decisions import DecisionLog
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.distributed import loop, records
from datumaro_clip.distributed.making import merge_shards, read_plan, write_plan
from datumaro_clip.distributed.plan import Plan, cut, keys_digest
from datumaro_clip.distributed.records import Record, states
from datumaro_clip.distributed.runner import ShardRunner
from datumaro_clip.errors import OptionError, PlanError, SpaceMismatchError, StoreError
from datumaro_clip.store import open_store
from datumaro_clip.vectors import ItemKey

ITEMS = 40
TOOLS: dict[str, dict[str, object]] = {"clip_dedup": {}, "clip_outliers": {}, "clip_sample": {"count": 9}}


@pytest.fixture(scope="module")
def decided(shop_store: Path) -> dict[str, DecisionLog]:
    """What tools decide about the store of one machine."""
    return {tool: decisions(shop_store, tool, **options) for tool, options in TOOLS.items()}


@pytest.fixture
def make(shop: Path, tmp_path: Path) -> Callable[..., str]:
    """Writes a plan of the catalogue, and returns its path."""

    def written(shards: int, **options: object) -> str:
        path = str(tmp_path / "plan.json")
        write_plan(*planned(f"{shop}:coco", shards, **options), path)
        return path

    return written


def runner_of(path: str, **local: object) -> ShardRunner:
    work = read_plan(path)
    return ShardRunner(work, {"cache": "off", **local})


def run_all(path: str) -> list[int]:
    """Make all shards; those that were told as done."""
    told: list[int] = []
    work = read_plan(path)
    numbers = range(len(work.plan.shards))
    assert loop.run_open(runner_of(path), numbers, lambda number, record: told.append(number)) == []
    return told


@pytest.mark.parametrize("shards", [1, 7])
def test_any_number_of_shards_gives_the_store_of_one_machine(
    shards: int, make: Callable[..., str], shop_store: Path, decided: dict[str, DecisionLog], tmp_path: Path
) -> None:
    path = make(shards)
    assert run_all(path) == list(range(shards))
    done = merge_shards(read_plan(path), tmp_path / "merged")
    assert (done.stores, done.items) == (shards, ITEMS)
    require_same(shop_store, tmp_path / "merged")
    for tool, options in TOOLS.items():
        assert decisions(tmp_path / "merged", tool, **options) == decided[tool]


def test_a_killed_run_is_taken_up_by_the_same_command(
    make: Callable[..., str], shop_store: Path, tmp_path: Path
) -> None:
    path = make(7)
    words = [str(BIN / "datum-clip"), "plan", "run", path]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "DATUMARO_CLIP_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("shard 0: ")
        process.kill()
    made = {number for number in range(7) if read_plan(path).done(number)}
    assert 0 in made
    assert len(made) < 7
    before = {number: _stamp(path, number) for number in made}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all 7 shards are done" in done.stdout
    assert {number: _stamp(path, number) for number in made} == before
    assert [name for name in os.listdir(tmp_path / "plan.shards") if name.startswith(".")] == []
    merge_shards(read_plan(path), tmp_path / "merged")
    require_same(shop_store, tmp_path / "merged")


def _stamp(path: str, number: int) -> int:
    return (Path(path).with_suffix(".shards") / str(number) / records.DONE).stat().st_ino


def test_finished_shards_are_skipped_and_those_of_another_plan_made_anew(make: Callable[..., str]) -> None:
    path = make(2, objects=False, texts="none")
    first = [runner_of(path).run(number) for number in range(2)]
    assert [runner_of(path).run(number) for number in range(2)] == first
    path = make(2, objects=True, texts="none")
    assert read_plan(path).done(0) is None
    runner_of(path).run(0)
    with open_store(Path(path).with_suffix(".shards") / "0") as store:
        assert store.object_count > 0


def test_precision_and_device_must_be_said(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "make", f"{shop}:coco", "-o", str(tmp_path / "plan.json"), "--shards", "2"]
    assert main([*words, "--device", "CPU"]) == 1
    assert "say --precision f32" in capsys.readouterr().err
    for device in ([], ["--device", "AUTO:GPU,CPU"]):
        assert main([*words, "--precision", "f32", *device]) == 1
        assert "say --device CPU" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_a_machine_with_other_items_refuses_and_says_so_in_the_status(
    make: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(3)
    write_catalogue(tmp_path / "other", items=ITEMS + 4, seed=6)
    work = read_plan(path)
    other = ShardRunner(work, {}, f"{tmp_path / 'other'}:coco")
    with pytest.raises(PlanError, match=r"lacks \d+ of the 13 items of shard 1 here, as .*@"):
        other.run(1)
    assert main(["plan", "status", path]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith(": 1 failed, 2 open; 0 of 40 items")
    assert told[1].startswith("shard 1: failed, 0 of 13 items after ")
    assert "of the 13 items of shard 1 here" in told[1]
    runner_of(path).run(1)
    assert main(["plan", "status", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == {"open": 2, "done": 1}


def test_a_machine_that_reads_the_dataset_in_another_order_makes_the_same_shard(
    make: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a copy of a folder on another file system is read."""
    path = make(2, objects=False, texts="none")
    here, there = runner_of(path), runner_of(path)
    here.run(0)
    there._items = dict(reversed(list(there._items.items())))
    there.work.place.remove("0")
    there.run(0)
    with open_store(Path(path).with_suffix(".shards") / "0") as store:
        assert list(store.keys()) == list(here._items)[:20]


def test_keys_of_another_plan_are_refused(make: Callable[..., str]) -> None:
    path = make(2)
    work = read_plan(path)
    work.place.write(work.keys_name(0), b"")
    with pytest.raises(PlanError, match="the keys beside the plan are not the plan's"):
        runner_of(path).run(0)


def test_a_machine_with_another_model_refuses(make: Callable[..., str]) -> None:
    path = make(2)
    told = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({**told, "space": "sha256:" + "0" * 64}))
    with pytest.raises(SpaceMismatchError, match="copy the model that the plan was made with"):
        runner_of(path).run(0)


def test_shards_that_are_missing_are_named_instead_of_merged(make: Callable[..., str], tmp_path: Path) -> None:
    path = make(3)
    runner_of(path).run(1)
    with pytest.raises(PlanError, match="2 of 3 shards are not done, as shard 0"):
        merge_shards(read_plan(path), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_shard_that_another_worker_finishes_first_stays_as_it_is(
    make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers on one shard: the first rename counts, and the second reports it as done."""
    path = make(2, objects=False, texts="none")
    slow, quick = runner_of(path), runner_of(path)
    embed = slow._embed

    def overtaken(*given: object) -> None:
        embed(*given)  # type: ignore[arg-type]
        quick.run(0)

    monkeypatch.setattr(slow, "_embed", overtaken)
    made = slow.run(0)
    assert made == quick.work.done(0)
    assert quick.work.attempt(0) is None
    with open_store(Path(path).with_suffix(".shards") / "0") as store:
        assert len(store) == 20


def test_the_loop_leaves_what_others_work_on_until_nothing_is_heard_of_them(
    make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(2, objects=False, texts="none")
    work = read_plan(path)
    word = Record("running", work.plan.digest(0), "elsewhere:7", 3, 60.0, 1)
    work.write(0, word)
    slept: list[float] = []
    begin = loop.time.monotonic()

    def sleep(seconds: float) -> None:
        """Twenty seconds pass; in the first forty the other worker says something."""
        slept.append(20.0)
        if len(slept) <= 2:
            work.write(0, replace(word, beat=1 + len(slept)))

    monkeypatch.setattr(loop.time, "sleep", sleep)
    monkeypatch.setattr(loop, "time", Mock(wraps=loop.time, monotonic=lambda: begin + sum(slept)))
    told: list[int] = []
    assert loop.run_open(runner_of(path), range(2), lambda number, record: told.append(number)) == []
    assert told == [1, 0]
    assert sum(slept) == 40.0 + records.SILENT_SECONDS


def test_a_shard_of_a_dead_process_of_this_machine_is_taken_at_once(make: Callable[..., str]) -> None:
    path = make(1, objects=False, texts="none")
    work = read_plan(path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    worker = f"{records.socket.gethostname()}:{dead.pid}"
    work.write(0, Record("running", work.plan.digest(0), worker))
    assert run_all(path) == [0]


def test_status_tells_slow_and_silent_shards(make: Callable[..., str]) -> None:
    work = read_plan(make(7, objects=False, texts="none"))
    assert [each.state for each in states(work)] == ["open"] * 7
    for number in (0, 1, 2):
        runner_of(work.path).run(number)
    usual = max(each.record.pace for each in states(work) if each.record)
    for number, seconds, told in ((3, 0.0, None), (4, 100 * usual, None), (5, 0.0, "2020-01-01T00:00:00+00:00")):
        word = Record("running", work.plan.digest(number), "elsewhere:7", 1, seconds)
        work.write(number, word if told is None else replace(word, told=told))
    assert [each.state for each in states(work)] == [*["done"] * 3, "running", "slow", "silent", "open"]


@pytest.mark.parametrize("change", [{"seconds": "9"}, {"failures": [1]}, {"sources": {"cache": None}}, {"worker": 7}])
def test_a_record_that_is_none_counts_for_nothing(change: dict[str, object]) -> None:
    sound = Record("done", "digest", "worker", failures={"missing": 1})
    assert Record.from_json(sound.to_json()) == sound
    assert Record.from_json(json.dumps({**vars(sound), **change}).encode()) is None
    assert Record.from_json(sound.to_json()[:-9]) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"format": "datumaro-clip plan"}', b"\xff", b"[" * 100_000],
    ids=["empty", "bare", "list", "half", "bytes", "deep"],
)
def test_a_file_that_is_no_plan_is_refused_by_name(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    assert main(["plan", "status", str(path)]) == 1
    assert f"{path} cannot be read as a plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is no plan"),
        ({"version": 2}, "a plan of version 2"),
        ({"store": {"format": "clip_other", "dtype": "float32", "save_media": False}}, "no store clip_other"),
        ({"options": {"precision": "f32", "device": "CPU", "model": "tiny", "tow": 1}}, "no option tow"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(change: dict[str, object], message: str, make: Callable[..., str]) -> None:
    path = Path(make(2))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PlanError, match=message):
        read_plan(str(path))


def test_a_plan_is_read_as_it_was_written(make: Callable[..., str]) -> None:
    path = make(3)
    plan = read_plan(path).plan
    assert Plan.from_json(plan.to_json(), "again") == plan
    assert [plan.name(number) for number in range(3)] == ["0", "1", "2"]
    with pytest.raises(OptionError, match="no shard 3; it has 0 to 2"):
        plan.require([2, 3])


@pytest.mark.parametrize(("items", "shards", "sizes"), [(1, 1, [1]), (2, 5, [1, 1]), (10, 3, [3, 3, 4])])
def test_items_are_cut_into_even_ranges_in_their_order(items: int, shards: int, sizes: list[int]) -> None:
    keys = [ItemKey(str(n), "train") for n in range(items)]
    made = cut(keys, shards)
    assert [shard.items for shard in made] == sizes
    assert [shard.first for shard in made] == [keys[sum(sizes[:n])] for n in range(len(sizes))]
    assert made[-1].last == keys[-1]
    assert made[0].keys == keys_digest(keys[: sizes[0]])


def test_nothing_and_repetitions_cannot_be_cut() -> None:
    with pytest.raises(OptionError, match="0 items read"):
        cut([], 3)
    with pytest.raises(OptionError, match="two items are called a@train"):
        cut([ItemKey("a", "train"), ItemKey("b", "train"), ItemKey("a", "train")], 2)


def test_an_error_while_a_shard_is_made_leaves_nothing_that_counts(
    make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(2, objects=False, texts="none")
    runner = runner_of(path)

    def full(*given: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(runner, "_embed", full)
    assert loop.run_open(runner, [0], lambda number, record: None) == [0]
    failed = runner.work.attempt(0)
    assert failed is not None
    assert (failed.state, failed.error) == ("failed", "no room")
    assert read_plan(path).place.names() == {"0.attempt.json", "0.keys.jsonl", "1.keys.jsonl"}
