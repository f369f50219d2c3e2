"""Run the notebooks of the documentation and save them with their outputs.

python tools/run_notebooks.py [NOTEBOOK...]

Each runs in an empty directory, with an empty cache and without a network; times are not saved.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
_PATIENCE = 600
_PROGRESS = re.compile(r"\w+: .*\[.*\]")


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook as it is after all its cells have run.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails; shows the cell and its error.
    """
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "DATUMARO_CLIP_CACHE": str(Path(folder) / "cache"),
            "HF_HUB_OFFLINE": "1",
            # tqdm's warning if widgets are not installed.
            "PYTHONWARNINGS": "ignore:IProgress not found",
        }
        work = Path(folder) / "work"
        work.mkdir()
        with patch.dict(os.environ, settings):
            NotebookClient(
                book,
                timeout=_PATIENCE,
                kernel_name="python3",
                record_timing=False,
                resources={"metadata": {"path": str(work)}},
            ).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = _lasting(cell.outputs)
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return book


def _lasting(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs without progress bars, with the text between them joined, and each picture in one format."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        data = output.get("data", {})
        if "image/jpeg" in data:  # Pillow gives both, and the other one is several times as large.
            data.pop("image/png", None)
        if kept and output.get("name") == kept[-1].get("name") == "stdout":
            kept[-1].text += output.text
        elif output.get("name") != "stderr" or _PROGRESS.sub("", output.text).strip():
            kept.append(output)
    return kept


def save(path: Path) -> None:
    """Run a notebook and save it."""
    book = run(path)
    path.write_text(nbformat.writes(book) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    for chosen in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(NOTEBOOKS.glob("*.ipynb")):
        save(chosen)
