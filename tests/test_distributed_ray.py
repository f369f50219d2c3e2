"""Shards on a Ray cluster of this machine: with lost workers, the store of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commands import BIN, run_command, run_python
from servers import RayCluster
from shards import planned, require_same

from datumaro_clip.distributed.making import merge_shards, read_plan, write_plan
from datumaro_clip.distributed.records import PlannedWork

KILLS = 3


def new_workers(work: PlannedWork, process: subprocess.Popen[str]) -> Iterator[int]:
    """Process ids of those that work on a shard, each once, as long as the command runs."""
    seen: set[int] = set()
    while process.poll() is None:
        for number in range(len(work.plan.shards)):
            attempt = work.attempt(number)
            pid = 0 if attempt is None or attempt.state != "running" else int(attempt.worker.rpartition(":")[2])
            if pid and pid not in seen:
                seen.add(pid)
                yield pid
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)


def test_shards_whose_workers_are_killed_come_again(
    shop: Path, shop_store: Path, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    path = str(tmp_path / "plan.json")
    write_plan(*planned(f"{shop}:coco", 7), path)
    work = read_plan(path)
    words = [str(BIN / "datum-clip"), "plan", "run", "plan.json", "--ray", ray_cluster.address, "--workers", "2"]
    env = {**os.environ, **ray_cluster.env, "DATUMARO_CLIP_CACHE": str(tmp_path / "cache")}
    killed = 0
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(words, cwd=tmp_path, env=env, text=True, **pipes) as process:
        for pid in new_workers(work, process):
            if killed < KILLS:
                os.kill(pid, signal.SIGKILL)
                killed += 1
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert killed == KILLS, said
    assert said.count("comes again: its worker was lost") == KILLS, said
    made = sorted(line.partition(":")[0] for line in said.splitlines() if " items in " in line)
    assert made == [f"shard {number}" for number in range(7)]
    merge_shards(work, tmp_path / "merged")
    require_same(shop_store, tmp_path / "merged")


def test_a_shard_that_always_loses_its_worker_fails_and_the_others_are_made(
    shop: Path, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    """One that takes its process with it, as for want of memory; Ray is asked not to report how it is used.

    Workers that cannot read the plan end the command: others could not either.
    """
    path = str(tmp_path / "plan.json")
    write_plan(*planned(f"{shop}:coco", 3, objects=False, texts="none"), path)
    deadly = f"""
import os
from dataclasses import replace
from datumaro_clip.distributed import ray_shards as on_ray
from datumaro_clip.distributed.making import read_plan
from datumaro_clip.distributed.ray import cluster
from datumaro_clip.errors import ClusterError

class Deadly(on_ray._Worker):
    def run(self, number):
        return os._exit(1) if number == 1 else super().run(number)

on_ray._Worker = Deadly
work, told = read_plan({path!r}), []
with cluster({ray_cluster.address!r}):
    tell = lambda number, record: told.append(number)
    failed = on_ray.run_shards(work, range(3), dict(cache="off"), tell, workers=1, retries=1)
    try:
        on_ray.run_shards(replace(work, path="nowhere.json"), range(3), dict(cache="off"), tell)
    except ClusterError as exc:
        print(exc)
print("failed", failed, "told", sorted(told), "reports", os.environ["RAY_USAGE_STATS_ENABLED"])
"""
    said = run_python(deadly, **ray_cluster.env)
    assert "a worker cannot begin: there is no plan nowhere.json; make one with datum-clip plan make" in said
    assert said.rstrip().endswith("failed [1] told [0, 2] reports 0"), said


def test_tools_decide_the_same_on_ray_though_a_worker_is_lost(
    shop: Path, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    """Byte for byte: copies (near ones in clusters, too), broken pictures, outliers, samples."""
    code = f"""
import os
from contextlib import nullcontext
from pathlib import Path
from datumaro.components.dataset import Dataset
from datumaro_clip.curate import nearest, sample
from datumaro_clip.curate.decisions import write_decisions
from datumaro_clip.curate.run import decide, read_values
from datumaro_clip.curate.near.threads import workers
from datumaro_clip.curate.tools import tool_named
from datumaro_clip.distributed.ray import cluster
from datumaro_clip.distributed.ray_pool import RayPool
from datumaro_clip.host.items import label_names, neutral

died = Path({str(tmp_path / "died")!r})

def fragile(task):
    if task == 20 and not died.exists():
        died.touch()
        os._exit(1)
    return 2 * task

dataset = Dataset.import_from({str(shop)!r}, "coco")
classes = label_names(dataset.categories())
items = [neutral(item, classes) for item in dataset]
with cluster({ray_cluster.address!r}):
    pool = RayPool(2)
    assert list(pool.map(fragile, range(100), chunksize=16)) == list(range(0, 200, 2))
    assert list(pool.map(fragile, [])) == []
    nearest._QUERIES, sample._FAR, sample._ROWS = 7, 5, 16
    model = dict(model="tiny", precision="f32", on_error="skip")
    for name, options in (
        ("clip_dedup", dict(no_vectors=True)),
        ("clip_dedup", dict(levels=["exact", "near", "semantic"], approximate=True, **model)),
        ("clip_clean", dict()),
        ("clip_outliers", model),
        ("clip_sample", dict(strategy="k_center", count=12, **model)),
        ("clip_sample", dict(strategy="typical", count=12, **model)),
    ):
        tool = tool_named(name)
        values = read_values(tool, options)
        for path, crew in (("here", workers), ("there", lambda: nullcontext(pool))):
            made = decide(tool, values, items, classes, crew)
            write_decisions(path, made)
        assert Path("here").read_bytes() == Path("there").read_bytes()
        print(sorted(made.counts()), made.notes)
print("died", died.exists())
"""
    said = run_python(code, tmp_path, DATUMARO_CLIP_CACHE=str(tmp_path / "cache"), **ray_cluster.env)
    assert "drop near_duplicate" in said
    assert "drop missing" in said
    assert "drop semantic_duplicate" in said
    assert "neighbours by descriptors are found, 100.00%, by a sample of 1,000 items" in said
    assert "drop outlier" in said
    assert said.count("keep picked") == 2
    assert said.rstrip().endswith("died True")


def test_no_cluster_is_told_in_one_line(shop: Path, ray_cluster: RayCluster, tmp_path: Path) -> None:
    path = str(tmp_path / "plan.json")
    write_plan(*planned(f"{shop}:coco", 3), path)
    done = run_command("datum-clip", "plan", "run", path, "--ray", "nonsense://x", **ray_cluster.env)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("datum-clip: no Ray cluster at nonsense://x: ")


def test_without_an_address_no_cluster_of_before_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last one was killed, its address still lies in Ray's folder."""
    ray = pytest.importorskip("datumaro_clip.distributed.ray", reason="needs the extra 'ray'")
    asked: list[str] = []
    monkeypatch.setattr(ray.ray, "init", lambda **options: asked.append(options["address"]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "10.0.0.1:6379"):
        with ray.cluster(address):
            pass
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with ray.cluster(None):
        pass
    assert asked == ["local", "10.0.0.1:6379", "auto"]
