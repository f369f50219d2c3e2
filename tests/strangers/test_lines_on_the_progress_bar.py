"""Log lines beside a progress bar, and what a run leaves that failed."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.errors import OptionError
from datumaro_clip.system.terminal import progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("doing", ["Embedding", "Detecting"])
def test_a_line_stands_above_the_bar(doing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood behind the bar, on the same line."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(sys.stderr)])
    with progress(3, doing=doing) as bar:
        bar.refresh()
        logging.warning("a line")
    shown = sys.stderr.getvalue()
    assert doing in shown
    before, _, _ = shown.partition("a line")
    assert before.rsplit("\r", 1)[1].strip() == ""


def test_where_nobody_sees_a_bar_the_log_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    handlers = list(logging.root.handlers)
    with progress(3):
        assert logging.root.handlers == handlers
    assert sys.stderr.getvalue() == ""


def test_a_run_that_fails_leaves_no_empty_report(tmp_path: Path) -> None:
    """And keeps what lay in the directory."""
    for name, is_filled in (("new", False), ("old", True)):
        if is_filled:
            (tmp_path / name).mkdir()
            (tmp_path / name / "mine").touch()
        dataset = Dataset.from_iterable([DatasetItem("a")])
        with pytest.raises(OptionError, match="no subset"):
            list(dataset.transform("clip_clean", subset=["none"], report=str(tmp_path / name)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]
    assert (tmp_path / "old/mine").exists()
