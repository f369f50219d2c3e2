"""After a run was killed or interrupted at any moment, the next run goes on from there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.embedding.cache import Keeper, VectorCache
from datumaro_clip.vectors import FloatArray

PICTURES, BATCH = 240, 8

# Prints a line for each batch computed; ends with the sum of all vectors.
RUN = f"""
import sys
import numpy as np
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.embedding import ImageRequest, embed_images
from datumaro_clip.testing import FakeEncoder

class Telling(FakeEncoder):
    def submit_pixels(self, pixels):
        future = super().submit_pixels(pixels)
        print("computed", len(pixels), flush=True)
        return future

def picture(index):
    return np.random.default_rng(index).integers(0, 255, (16, 16, 3), np.uint8)

requests = (ImageRequest(picture(index)) for index in range({PICTURES}))
with VectorCache(sys.argv[1]) as cache:
    rows = [result.vector for result in embed_images(requests, Telling(), cache=cache, batch_size={BATCH})]
np.save(sys.argv[2], np.stack(rows), allow_pickle=False)
"""

# A process started in the background inherits that Ctrl-C is ignored; a user's is not.
STUCK = """
import signal, sys, threading
from datumaro_clip.embedding import ImageRequest, embed_images
from datumaro_clip.testing import FakeEncoder

signal.signal(signal.SIGINT, signal.default_int_handler)

def never():
    print("waiting", flush=True)
    threading.Event().wait()

try:
    list(embed_images([ImageRequest(never)], FakeEncoder()))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def start(code: str, *args: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True)


def computed(process: subprocess.Popen[str], kill_after: int | None = None) -> int:
    """Pictures computed by a run, which is killed after so many batches."""
    assert process.stdout is not None
    total = 0
    for batches, line in enumerate(process.stdout, start=1):
        total += int(line.split()[1])
        if batches == kill_after:
            process.kill()
    process.wait(60)
    process.stdout.close()
    return total


def test_what_was_computed_before_a_kill_is_not_computed_again(tmp_path: Path) -> None:
    undisturbed = start(RUN, tmp_path / "other", tmp_path / "wanted.npy")
    chance, kills, total = random.Random(3), 5, 0
    for _ in range(kills):
        process = start(RUN, tmp_path / "cache", tmp_path / "got.npy")
        total += computed(process, kill_after=chance.randrange(1, 6))
        assert process.returncode in (0, -signal.SIGKILL)
    total += computed(start(RUN, tmp_path / "cache", tmp_path / "got.npy"))
    assert computed(undisturbed) == PICTURES
    got, wanted = (np.load(tmp_path / f"{name}.npy", allow_pickle=False) for name in ("got", "wanted"))
    np.testing.assert_array_equal(got, wanted)
    # A kill comes a little after the line that asks for it; the batch then being computed is what is lost.
    assert total <= PICTURES + kills * 2 * BATCH


class LateFuture(Future[FloatArray]):
    """Wakes waiting threads long before it calls back, as a future may."""

    def add_done_callback(self, fn: Callable[[Future[FloatArray]], object]) -> None:
        self.call_back = fn


def test_a_batch_whose_future_has_not_called_back_yet_is_kept(tmp_path: Path) -> None:
    with VectorCache(tmp_path) as cache:
        keeper, vectors = Keeper(cache), LateFuture()
        keeper.keep([b"key"], vectors)
        vectors.set_result(np.ones((1, 4), np.float32))
        keeper.close()
        vectors.call_back(vectors)
        np.testing.assert_array_equal(cache.get([b"key"])[0], np.ones(4))


def test_a_thread_computes_nothing_before_its_last_batch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the disk is, a kill loses what is being computed, and nothing else."""
    written: list[bytes] = []
    behind: list[int] = []

    def compute(number: int) -> FloatArray:
        behind.append(number - len(written))
        return np.ones((1, 4), np.float32)

    with VectorCache(tmp_path) as cache:
        put = cache.put

        def put_slowly(keys: Sequence[bytes], vectors: Iterable[FloatArray]) -> None:
            time.sleep(0.02)
            put(keys, vectors)
            written.extend(keys)

        monkeypatch.setattr(cache, "put", put_slowly)
        keeper = Keeper(cache)
        with ThreadPoolExecutor(1) as thread:
            for number in range(6):
                keeper.keep([b"%d" % number], thread.submit(compute, number))
        keeper.close()
    assert (behind, len(written)) == ([0] * 6, 6)


def test_a_batch_that_is_done_after_an_interruption_is_waited_for_by_nobody(tmp_path: Path) -> None:
    """A write handed to a thread that has ended is never done."""
    with VectorCache(tmp_path) as cache:
        keeper, vectors = Keeper(cache), Future[FloatArray]()
        keeper.keep([b"key"], vectors)
        keeper.close()
        vectors.set_result(np.ones((1, 4), np.float32))
        keeper.close()
        assert cache.get([b"key"]) == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: Ctrl-C sent to one process")
def test_ctrl_c_does_not_wait_for_a_picture() -> None:
    """A thread that decodes, or waits for a slow disk, keeps the process alive."""
    with start(STUCK) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert said == "interrupted\n"
    assert process.returncode == 130
