"""Damaged and hostile stores, manifests, caches and model directories give the true contents or a clear error."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from datumaro_clip.errors import StoreCorruptError, StoreWriteError
from datumaro_clip.store import MediaFolder, create_store, media_path
from datumaro_clip.testing.records import HEADER

SCRIPT = Path(__file__).parents[1] / "tools/fuzz.py"
COUNTS = {
    "clip_hdf5": 80,
    "clip_mmap": 80,
    "payload": 120,
    "manifest": 60,
    "cache": 50,
    "model": 30,
    "decisions": 60,
    "vectors": 60,
}


@pytest.mark.skipif(sys.platform != "linux", reason="not on this machine: needs limits of memory")
@pytest.mark.parametrize("subject", COUNTS)
def test_damaged_and_hostile_files(subject: str, tmp_path: Path) -> None:
    """In a process of its own, which a crash of a library, executed code or lack of memory would end."""
    command = [sys.executable, str(SCRIPT), "--one", subject, str(tmp_path), str(COUNTS[subject]), "1"]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-500:] + done.stderr.decode(errors="replace")[-2000:]
    refused = re.search(r"^refused (\d+), ", said, re.MULTILINE)
    assert refused is not None
    assert int(refused[1]) > COUNTS[subject] / 10


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="not on this machine: symbolic links")


@needs_links
@pytest.mark.parametrize("link", ["media", "media/below"])
def test_links_lead_nothing_out_of_a_store(tmp_path: Path, link: str) -> None:
    """If a store's media folder is a link, nothing behind it is read, added or removed."""
    outside, root = tmp_path / "outside", tmp_path / "store"
    outside.mkdir()
    (outside / "a.jpg").write_bytes(b"another's")
    with create_store(root, "clip_mmap", HEADER):
        pass
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(outside)
    with pytest.raises(StoreCorruptError, match="not inside"):
        media_path(root, f"{link}/a.jpg")
    assert MediaFolder(root).find(root / link / "a.jpg") is None
    for _ in range(2):
        with suppress(StoreWriteError), create_store(root, "clip_mmap", HEADER, overwrite=True) as writer:
            writer.media.add_bytes(b"ours", "below/b.jpg")
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"a.jpg": b"another's"}


@needs_links
def test_a_media_folder_that_is_a_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "media").symlink_to(tmp_path)
    with pytest.raises(StoreWriteError, match="media is a link"):
        MediaFolder(tmp_path).add_bytes(b"ours", "a.jpg")
