"""What doctor says of extras: it tries what is installed, and names one command for what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datumaro_clip.cli import doctor, main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def test_every_extra_of_users_is_looked_at():
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for_us = {"test", "test-browser", "test-servers", "dev", "bench", "docs"}
    assert set(extras) - for_us == set(doctor.EXTRAS)
    for name, modules in doctor.EXTRAS.items():
        wanted = {each.partition(">")[0].partition("[")[0] for each in extras[name]} - {"datumaro-clip"}
        assert wanted == set(modules)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", []),
        ("raise ImportError('no libfoo')", ["bad (optional): badlib: ImportError: no libfoo; pip install --force"]),
        ("import os; os.abort()", ["bad (optional): importing badlib ends Python with status"]),
        (None, ["bad (optional): bad-lib not installed", "to have what is optional: pip install 'datumaro-clip[bad]'"]),
    ],
)
def test_what_cannot_be_imported_is_told_with_its_cure(
    source: str | None,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    if source is not None:
        (tmp_path / "badlib.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(doctor, "EXTRAS", {"bad": {"bad-lib": "badlib"}})
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    lines = [line.strip() for line in printed[printed.index("missing:") :].splitlines()[1:]]
    assert [line[: len(start)] for line, start in zip(lines, told or ["nothing"], strict=True)] == (told or ["nothing"])


def test_each_device_is_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(doctor, "EXTRAS", {})
    assert main(["doctor"]) == 0
    assert "answers as it should" in capsys.readouterr().out

    def refuse(*words: object) -> None:
        raise doctor.OptionError("no driver")

    monkeypatch.setattr(doctor, "load_model", refuse)
    assert main(["doctor"]) == 0
    assert "; fails: no driver" in capsys.readouterr().out
