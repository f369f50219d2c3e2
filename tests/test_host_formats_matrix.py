"""Whatever Datumaro reads survives both stores, format by format, and docs/formats.md says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from format_matrix import HEADING, PAGE, format_names, try_format

import datumaro_clip
from datumaro_clip.store import kind_names

datumaro_clip.register()


@pytest.mark.parametrize("name", format_names())
def test_a_format_survives_both_stores_and_goes_back(name: str, tmp_path: Path) -> None:
    """Nothing differs, and the page says what this test found; ``python tests/format_matrix.py`` writes the page."""
    outcome = try_format(name, tmp_path)
    assert outcome.through == {kind: [] for kind in kind_names()}
    assert outcome.again == {kind: [] for kind in kind_names()}
    assert len(outcome.source) > 0
    assert outcome.row in PAGE.read_text(encoding="utf-8")


def test_the_page_lists_every_format_and_no_other() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].splitlines()
    listed = [line.split("`")[1] for line in table if line.startswith("| `")]
    assert listed == format_names()
