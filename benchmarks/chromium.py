"""Chromium without a graphics card, as tests and benchmarks drive it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def opened_browser() -> Iterator[Any]:
    """Give a browser of Playwright's, with the scheduling priority of this process, for a block.

    Raises
    ------
    ModuleNotFoundError
        If Playwright is not installed.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        _prefer_children()
        yield browser
        browser.close()


def _prefer_children() -> None:
    """Give this process's children its own niceness among sessions, where Linux schedules whole sessions."""
    own = Path("/proc/self/autogroup")
    found = re.search(r"nice (-?\d+)", own.read_text()) if own.exists() else None
    if found is None or found[1] == "0":
        return
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    for process in parents:
        ancestor = process
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid():
            with suppress(FileNotFoundError, ProcessLookupError):  # It has ended meanwhile.
                Path(f"/proc/{process}/autogroup").write_text(found[1])


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
