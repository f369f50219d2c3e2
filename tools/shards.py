"""Embed a drawn catalogue in shards, with kills and on Ray, and compare the stores with that of one undisturbed run.

    python tools/shards.py [--items 120] [--kills 10]

prints a line for each way: how many items, vectors of pictures and of objects are equal, and decisions of three tools,
and by how much vectors of captions differ at most. Fails if anything that should be equal is not. POSIX only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from datumaro_clip.distributed.making import read_plan
from datumaro_clip.store import open_store

PROGRAMS = {"datum": "datumaro", "datum-clip": "datumaro_clip.cli"}
EMBEDDING = "--model tiny --precision f32 --device CPU --texts captions --objects"
TOOLS = {
    "clip_dedup": "--levels exact near semantic",
    "clip_outliers": "",
    "clip_sample": "--strategy k_center --ratio 0.25",
}
#: The most that vectors of captions may differ, since texts are padded to the longest of their batch.
CAPTIONS = 1e-6


class Trial:
    """A folder with a catalogue, the store of one undisturbed run, and the tools' decisions about it."""

    def __init__(self, folder: Path, items: int) -> None:
        self.folder = folder
        self.command(f"datum-clip catalogue -o catalogue --items {items}")
        single = "--store single --store-format clip_mmap --cache off"
        self.command(f"datum transform -t clip_embed -o embedded catalogue:coco -- {single} {EMBEDDING}")
        self._wanted = self._decisions("single")

    def command(self, line: str) -> None:
        """Run a command; end the script if it fails."""
        with self.start(line) as process:
            said = process.communicate()[0]
        if process.returncode:
            raise SystemExit(f"{line} failed:\n{said[-3000:]}")

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start a command."""
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "DATUMARO_CLIP_CACHE": str(self.folder / "cache")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        program, *words = line.split()
        return subprocess.Popen(
            [sys.executable, "-m", PROGRAMS[program], *words], cwd=self.folder, env=env, text=True, **pipes
        )

    def plan(self, name: str, shards: int, more: str = "") -> None:
        """Make a plan of the catalogue."""
        self.command(f"datum-clip plan make catalogue:coco -o {name}.json --shards {shards} {more} {EMBEDDING}")

    def compared(self, name: str, single: str = "single") -> str:
        """Merge a plan's shards, compare the store with that of one run, and return a line about it."""
        self.command(f"datum-clip plan merge {name}.json -o {name}")
        captions, items, objects = 0.0, 0, 0
        with open_store(self.folder / single) as one, open_store(self.folder / name) as other:
            for mine, yours in zip(one.records(), other.records(), strict=True):
                assert (mine.key, mine.payload) == (yours.key, yours.payload), f"{name}: {mine.key} differs"
                assert np.array_equal(mine.embedding, yours.embedding), f"{name}: the vector of {mine.key} differs"
                for part, its in zip(mine.objects, yours.objects, strict=True):
                    assert np.array_equal(part.vector, its.vector), f"{name}: an object of {mine.key} differs"
                for text, its_text in zip(mine.captions, yours.captions, strict=True):
                    captions = max(captions, float(np.abs(text.vector - its_text.vector).max()))
                items, objects = items + 1, objects + len(mine.objects)
        assert captions <= CAPTIONS, f"{name}: vectors of captions differ by {captions}"
        for tool, made in self._decisions(name).items():
            assert made == self._wanted[tool], f"{name}: {tool} decides otherwise"
        equal = f"{items} items and their vectors, {objects} of objects, decisions of {len(TOOLS)} tools equal"
        return f"{equal}; captions differ by {captions:.1e} at most"

    def _decisions(self, store: str) -> dict[str, bytes]:
        made = {}
        for tool, options in TOOLS.items():
            path = self.folder / f"{store}-{tool}.jsonl"
            self.command(f"datum-clip decisions make {tool} {store} -o {path} --model tiny --cache off {options}")
            made[tool] = path.read_bytes()
        return made


def resumed(trial: Trial, kills: int) -> None:
    """Kill a loop over seven shards each time that it has made one, then let it end."""
    trial.plan("resumed", 7)
    for _ in range(kills):
        with trial.start("datum-clip plan run resumed.json") as process:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("shard "):
                assert process.poll() is None, "the loop ended before it was killed"
            process.kill()
    trial.command("datum-clip plan run resumed.json")


def cut_off(trial: Trial) -> None:
    """Run two loops, as on two machines; the first stops without a word at its second shard.

    The other takes that shard over after a minute, and the result that the first still finishes later is dropped.
    """
    trial.plan("saved", 1, "--save-media")
    trial.command("datum-clip plan run saved.json")
    trial.command("datum-clip plan merge saved.json -o saved")
    trial.plan("apart", 7, "--save-media")
    shutil.copytree(trial.folder / "catalogue", trial.folder / "elsewhere")
    with trial.start("datum-clip plan run apart.json --dataset elsewhere:coco --cache elsewhere-cache") as lost:
        assert lost.stdout is not None
        while not lost.stdout.readline().startswith("shard "):
            assert lost.poll() is None, "the loop ended before it was cut off"
        lost.send_signal(signal.SIGSTOP)
        try:
            trial.command("datum-clip plan run apart.json")
        finally:
            lost.send_signal(signal.SIGCONT)
        said = lost.stdout.read()
    assert lost.returncode == 0, said


def on_ray(trial: Trial, kills: int) -> int:
    """Make seven shards with two workers of a Ray cluster, and kill the first ones; return how many were killed."""
    trial.plan("ray", 7)
    killed = 0
    address = os.environ.get("DATUMARO_CLIP_RAY_ADDRESS", "")
    with trial.start(f"datum-clip plan run ray.json --workers 2 --retries {kills} --ray {address}") as process:
        for pid in _new_workers(trial.folder / "ray.json", process):
            if killed < kills:
                os.kill(pid, signal.SIGKILL)
                killed += 1
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert said.count("comes again: its worker was lost") == killed, said
    return killed


def _new_workers(plan: Path, process: subprocess.Popen[str]) -> Iterator[int]:
    """Yield the process id of each worker once, as long as a command runs."""
    work = read_plan(str(plan))
    seen = {0}
    while process.poll() is None:
        for number in range(len(work.plan.shards)):
            attempt = work.attempt(number)
            running = attempt is not None and attempt.state == "running"
            pid = int(attempt.worker.rpartition(":")[2]) if running and attempt is not None else 0
            if pid not in seen:
                seen.add(pid)
                yield pid
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)


def main() -> int:
    """Try each way, and print what it gave."""
    parser = argparse.ArgumentParser(description="Compare shards with one run.")
    parser.add_argument("--items", type=int, default=120, help="of the drawn catalogue (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="of workers on Ray (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-shards-") as name:
        trial = Trial(Path(name), options.items)
        for shards in (1, 2, 7):
            trial.plan(f"in-{shards}", shards)
            trial.command(f"datum-clip plan run in-{shards}.json")
            print(f"{shards} shards: {trial.compared(f'in-{shards}')}", flush=True)
        resumed(trial, 3)
        print(f"7 shards, killed 3 times and resumed: {trial.compared('resumed')}", flush=True)
        cut_off(trial)
        print(f"7 shards, one of two machines cut off: {trial.compared('apart', 'saved')}", flush=True)
        killed = on_ray(trial, options.kills)
        print(f"Ray, 7 shards, {killed} workers killed: {trial.compared('ray')}", flush=True)
        assert killed == options.kills, f"only {killed} workers could be killed"
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
