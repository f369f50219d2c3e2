"""Real commands, killed, interrupted, or two at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run_command
from PIL import Image

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.store import create_store, open_store
from datumaro_clip.testing.records import HEADER, files_of

PICTURES = 60

# ``datum``, telling of each call of a method; a process started in the background inherits that Ctrl-C is ignored.
TELLING = """
import signal, sys
from importlib import import_module
from datumaro.cli.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)
module, kind, method = sys.argv.pop(1).split(":")
owner = getattr(import_module(module), kind)
call = getattr(owner, method)

def told(*args):
    print("called", flush=True)
    return call(*args)

setattr(owner, method, told)
sys.exit(main())
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: signals of POSIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("commands")
    (root / "in").mkdir()
    for number in range(PICTURES):
        Image.effect_noise((200, 150), number + 1).convert("RGB").save(root / f"in/{number}.png")
    return root


def start(folder: Path, told: str, words: str) -> subprocess.Popen[str]:
    """Start ``datum``; it prints a line for each call of the method ``module:class:method``."""
    command = [sys.executable, "-c", TELLING, told, *words.split()]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


EMBEDDING = "datumaro_clip.model.request_queue:RequestQueue:_run"
STORING = "datumaro_clip.store.writer:StoreWriter:add"
EMBED = "transform -t clip_embed -o {} in:image_dir -- --model tiny --batch-size 4 --cache {}"
EXPORT = "export -i in:image_dir -f {} -o {} -- --model tiny --save-media --batch-size 4 --cache {}"


@pytest.mark.parametrize(
    ("told", "words"),
    [(EMBEDDING, EMBED.format("out", "cache-1")), (STORING, EXPORT.format("clip_hdf5", "store", "cache-2"))],
)
def test_ctrl_c_says_how_to_go_on(folder: Path, told: str, words: str) -> None:
    """While pictures are embedded, and while a store is written; no partial output stays."""
    with start(folder, told, words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "called\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    print(f"stopped after {time.monotonic() - began:.2f} s")
    assert process.returncode == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert not (folder / "out").exists()
    assert not (folder / "store").exists()


@pytest.mark.parametrize(("kind", "told"), [("clip_hdf5", EMBEDDING), ("clip_mmap", STORING)])
def test_a_killed_export_is_repeated_by_the_same_command(folder: Path, kind: str, told: str) -> None:
    """Killed while it embeds or writes, the same command then makes the same store, byte for byte."""
    undisturbed, words = f"{kind}-undisturbed", EXPORT.format(kind, kind, f"{kind}-cache")
    with start(folder, told, words) as process:
        assert process.stdout is not None
        for _ in range(12):
            process.stdout.readline()
        process.kill()
    assert run_command("datum", *words.split(), cwd=folder).returncode == 0
    assert run_command("datum", *EXPORT.format(kind, undisturbed, "off").split(), cwd=folder).returncode == 0
    assert files_of(folder / kind) == files_of(folder / undisturbed)
    with VectorCache(folder / f"{kind}-cache") as cache:
        assert cache.info().vectors == PICTURES


def test_a_second_writer_is_told_of_the_first(folder: Path) -> None:
    with create_store(folder / "busy", "clip_mmap", HEADER):
        words = "export --overwrite -i in:image_dir -f clip_mmap -o busy -- --model tiny --cache off"
        done = run_command("datum", *words.split(), cwd=folder)
    assert done.returncode == 1
    assert "another writer; wait until it ends" in done.stdout
    assert "Traceback" not in done.stdout
    assert len(open_store(folder / "busy")) == 0
