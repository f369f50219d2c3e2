"""Chromium as people have it, for tests of pages; and axe-core, which finds what keeps people out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parents[1] / ".venv" / "node" / "node_modules" / "axe-core" / "axe.min.js"
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
    """A browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")
    if CHROMIUM is None:
        pytest.skip("needs chromium, to see the page as people do")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def axe_findings(tab: Any) -> list[str]:
    """What axe finds wrong with a page as it is now; skips where axe is not installed."""
    if not AXE.exists():
        pytest.skip("needs axe-core: make ci-venv installs it")
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    return [one["id"] for one in tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]]
