"""The notebooks run from their first cell to their last, and are saved with what they show."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
MOST_BYTES = 400_000


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name)
def test_it_runs_and_is_saved_with_its_outputs(path: Path, tools: Path):
    if find_spec("nbclient") is None:
        pytest.skip("needs nbclient, of the extra 'test'")
    import nbformat
    from run_notebooks import run

    saved = nbformat.read(path, as_version=4)
    nbformat.validate(saved)
    ran = run(path)
    for before, after in zip(saved.cells, ran.cells, strict=True):
        if before.cell_type == "code":
            assert before.execution_count == after.execution_count
            assert [kind(output) for output in before.outputs] == [kind(output) for output in after.outputs]


def kind(output: dict) -> tuple[str, str]:
    """What sort of output it is, and what it prints; what differs between processors counts as alike."""
    return output["output_type"], re.sub(r"\d+\.\d+|precision \w+", "0.0", output.get("text", ""))


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name)
def test_it_is_small_and_names_no_place_of_who_saved_it(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert [place for place in (str(Path.home()), sys.prefix, "/tmp/", "/home/") if place in text] == []


def test_there_are_notebooks():
    assert {path.stem for path in BOOKS} == {"curate", "own_vectors", "search", "visual-search"}
