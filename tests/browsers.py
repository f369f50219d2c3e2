"""Chromium as people have it, for tests of pages; and axe-core, which finds what keeps people out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chromium

AXE = Path(__file__).parents[1] / ".venv" / "node" / "node_modules" / "axe-core" / "axe.min.js"


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A browser; skips where there is none."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")
    if chromium.CHROMIUM is None:
        pytest.skip("needs chromium, to see the page as people do")
    with chromium.opened_browser() as opened:
        yield opened


def axe_findings(tab: Any) -> list[str]:
    """What axe finds wrong with a page as it is now; skips where axe is not installed."""
    if not AXE.exists():
        pytest.skip("needs axe-core: make ci-venv installs it")
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    return [one["id"] for one in tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]]
