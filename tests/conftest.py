"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data and models that cannot be shipped with the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the data directory beside the project, which cannot be shipped with it")
    return SHARED
