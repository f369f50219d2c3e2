"""Runs the installed commands as a user does: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def run_command(name: str, *args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run an installed script and return what it printed; standard error is folded into standard output."""
    return subprocess.run(
        [str(BIN / name), *map(str, args)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **env},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


def run_python(code: str, cwd: Path | None = None, **env: str) -> str:
    """Run a snippet in a fresh interpreter; fail with what it printed if it fails."""
    done = run_command("python", "-c", code, cwd=cwd, **env)
    assert done.returncode == 0, done.stdout
    return done.stdout
