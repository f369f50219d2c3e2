"""Kill commands at random moments, repeat the very same command, and compare what it writes with an undisturbed run.

    python tools/kill.py [--kills 30] [--items 300] [--seed 0]

prints a line for each kill: what was killed, when, and how many vectors that were being computed are not in the cache.
Fails if a command is refused when it is repeated, or a file of what it writes differs by a byte.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from datumaro_clip.cli import main as datum_clip
from datumaro_clip.curate.decisions import DecisionLog, write_decisions
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.store import create_store
from datumaro_clip.testing.records import HEADER, files_of, make_records

# Runs ``datum`` or ``datum-clip``, and writes the number of pictures of each batch to a file when it begins and ends.
RUN = """
import os, sys
del sys.argv[0]
if sys.argv[0] == "datum":
    from datumaro.cli.__main__ import main
else:
    from datumaro_clip.cli import main
from datumaro_clip.model.request_queue import RequestQueue

told = os.open(os.environ["TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
compute = RequestQueue._run

def telling(queue, inputs):
    os.write(told, b"begun %d\\n" % len(inputs["pixels"]))
    rows = compute(queue, inputs)
    os.write(told, b"ended %d\\n" % len(rows))
    return rows

RequestQueue._run = telling
sys.exit(main())
"""

# Commands as a user types them; each is repeated unchanged.
COMMANDS = (
    "datum export -i catalogue:coco -f clip_mmap -o {store} -- --save-media {embedding}",
    "datum export -i catalogue:coco -f clip_hdf5 -o {store} -- --save-media {embedding}",
    "datum convert -i catalogue -if coco -f clip_mmap -o {store} -- {embedding}",
    "datum transform -t clip_embed -o {store}-out catalogue:coco -- --store-format clip_mmap --store {store}"
    " {embedding}",
    "datum transform -t clip_embed -o {store}-out catalogue:coco -- --store {store} {embedding}",
    "datum-clip embed catalogue:coco -o {store} --save-media {embedding}",
    "datum-clip store merge shard-0 shard-1 -o {store}",
    "datum transform -t clip_clean -o {store}-out catalogue:coco",
    "datum-clip decisions apply decisions.jsonl catalogue:coco -o {store}-out --save-media",
    "datum-clip merge catalogue:coco catalogue:coco -f datumaro -o {store}-out --save-media",
    "datum-clip catalogue --items 40 -o {store}-out",
)


class Kill(NamedTuple):
    """The effect of one kill.

    Attributes
    ----------
    command : str
    after : float
        Seconds after the start.
    begun, ended, kept : int
        The number of vectors whose computation began, and ended, and that are in the cache.
    """

    command: str
    after: float
    begun: int
    ended: int
    kept: int

    def __str__(self) -> str:
        words = " ".join(self.command.split()[:9])
        return f"{self.after:6.2f} s  begun {self.begun:4}  ended {self.ended:4}  kept {self.kept:4}  {words}"


class Trial:
    """One command in a directory, with its own cache, which is killed and repeated until it ends by itself."""

    def __init__(self, words: str, folder: Path, name: str) -> None:
        self.words, self.folder, self.name = words, folder, name
        self._told, self._cache = folder / f"{name}-told", folder / f"{name}-cache"

    def run(self, seconds: float | None = None) -> tuple[float, Kill | None]:
        """Run the command, killed after ``seconds``; return the seconds that it took, or the effect of the kill."""
        self._told.unlink(missing_ok=True)
        before, started = self._vectors(), time.monotonic()
        process = self._start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        if process.wait() == 0:
            return time.monotonic() - started, None
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"{self.words} failed: {(self.folder / 'log').read_text()[-2000:]}")
        begun, ended = self._count("begun"), self._count("ended")
        return 0.0, Kill(self.words, time.monotonic() - started, begun, ended, self._vectors() - before)

    def written(self) -> dict[str, bytes]:
        """Return the files of the store, and of the dataset beside it."""
        return {**files_of(self.folder / self.name), **files_of(self.folder / f"{self.name}-out")}

    def forget(self) -> None:
        """Remove the store and the cache."""
        for path in self.folder.glob(f"{self.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _start(self) -> subprocess.Popen[bytes]:
        embedding = f"--model tiny --no-self-check --cache {self._cache}"
        words = self.words.format(store=self.name, embedding=embedding).split()
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", RUN, *words],
                cwd=self.folder,
                env={**os.environ, "TOLD": str(self._told)},
                stdout=log,
                stderr=log,
            )

    def _vectors(self) -> int:
        if not self._cache.exists():
            return 0
        with VectorCache(self._cache) as cache:
            return cache.info().vectors

    def _count(self, word: str) -> int:
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return sum(int(line.split()[1]) for line in lines if line.startswith(word))


def kills_of(words: str, count: int, folder: Path, chance: random.Random) -> Iterator[Kill]:
    """Kill a command ``count`` times, in a new trial whenever it ends; raise AssertionError if a store differs."""
    undisturbed = Trial(words, folder, "undisturbed")
    duration, _ = undisturbed.run()
    wanted, trial = undisturbed.written(), Trial(words, folder, "killed")
    undisturbed.forget()
    while count:
        # Late moments are more frequent than early ones, in which a command only loads its libraries.
        _, kill = trial.run(duration * chance.random() ** 0.5)
        if kill is not None:
            count -= 1
            yield kill
        if kill is not None and not count:
            trial.run()
        if kill is None or not count:
            require_same(trial.written(), wanted)
            trial.forget()


def require_same(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """Raise AssertionError unless two stores are equal, byte for byte."""
    differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    assert not differing, f"the store of a killed command differs in {', '.join(differing)}"


def main() -> int:
    """Kill, print, and sum up."""
    parser = argparse.ArgumentParser(description="Kill commands at random moments; compare their stores.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--items", type=int, default=300, help="pictures to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-kill-") as name:
        folder = Path(name)
        draw(folder, options.items)
        lost = []
        for number, words in enumerate(COMMANDS):
            share = len(range(number, options.kills, len(COMMANDS)))
            for kill in kills_of(words, share, folder, chance):
                lost.append(kill.begun - kill.kept)
                print(kill, flush=True)
    print(f"{len(lost)} kills, all stores equal; vectors lost: {sum(lost)}, by one kill {max(lost)} at most")
    return 0


def draw(folder: Path, items: int) -> None:
    """A catalogue, and two stores of parts of it, to run the commands on."""
    if datum_clip(["catalogue", "-o", str(folder / "catalogue"), "--items", str(items)]):
        raise SystemExit("no catalogue could be drawn")
    write_decisions(folder / "decisions.jsonl", DecisionLog("clip_clean", {}, None, ()))
    records = make_records(2 * items)
    for shard in range(2):
        with create_store(folder / f"shard-{shard}", "clip_mmap", HEADER) as writer:
            for record in records[shard::2]:
                writer.add(record)


if __name__ == "__main__":
    sys.exit(main())
