"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data and models that cannot be shipped with the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the data directory beside the project, which cannot be shipped with it")
    return SHARED


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI everything that a test can need is there, so a skip hides a fault."""
    outcome = yield
    report = outcome.get_result()
    reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if reason and item.config.getoption("--fail-on-skip") and "not on this machine:" not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped where it could run: {reason}"
