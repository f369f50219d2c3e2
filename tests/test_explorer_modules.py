"""The page's modules: their types hold, and every text is there in both languages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "datumaro_clip" / "explorer" / "static" / "js"
TSC = ROOT / ".venv" / "node" / "node_modules" / ".bin" / "tsc"


def test_types_hold():
    if not TSC.exists() or shutil.which("node") is None:
        pytest.skip("needs TypeScript: make ci-venv installs it")
    done = subprocess.run([TSC, "-p", ROOT / "jsconfig.json"], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_every_text_that_is_said_is_in_the_table():
    words = (MODULES / "words.js").read_text(encoding="utf-8")
    table = set(re.findall(r"^  (\w+): \[", words, re.M))
    sources = [path.read_text(encoding="utf-8") for path in MODULES.rglob("*.js")]
    said = {name for source in sources for name in re.findall(r"""\bsay\(\s*"(\w+)\"""", source)}
    said |= {name for source in sources for name in re.findall(r"""\bsay: "(\w+)\"""", source)}
    assert said - table == set()


def test_texts_differ_in_nothing_but_language():
    """The same values are filled in in both languages."""
    words = (MODULES / "words.js").read_text(encoding="utf-8")
    pairs = re.findall(r'^  (\w+): \[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\],', words, re.M)
    assert len(pairs) > 100
    wrong = [
        name for name, one, other in pairs if sorted(re.findall(r"{\w+}", one)) != sorted(re.findall(r"{\w+}", other))
    ]
    assert wrong == []


def test_modules_import_only_what_is_there():
    for path in MODULES.rglob("*.js"):
        for target in re.findall(r'from "(\.[^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / target).resolve().is_file(), f"{path.name}: {target}"
