"""Completion in a shell knows the commands, their options and their choices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datumaro_clip.cli import COMMANDS, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in script] == []
    assert "print0" in script


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("sea", "search"),
        ("cache ver", "verify"),
        ("search store --pri", "--print0"),
        ("model inf", "info"),
    ],
)
def test_bash_completes(words: str, completed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    program = f"""
        source ./completion
        COMP_WORDS=(datum-clip {words})
        COMP_CWORD={len(words.split())}
        _shtab_datum_clip
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout.split() == [completed]
