"""Runs the installed commands as a user does: in a process of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

BIN = Path(sys.executable).parent


@cache
def forked_programs() -> Path:
    """A folder with ``datum``, ``datum-clip`` and ``forked-python -c``; each forks a process that has all imported.

    For tests of what a command does. Tests of how a process begins or ends run the installed programs.
    """
    folder = Path(tempfile.mkdtemp(prefix="datumaro-clip-"))
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forked_commands.py"), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    @atexit.register
    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    return folder


def run_command(name: str, *args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run an installed script and return what it printed; standard error is folded into standard output."""
    return _run(BIN / name, args, cwd, env)


def run_forked(name: str, *args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """As :func:`run_command`, by :func:`forked_programs`."""
    return _run(forked_programs() / name, args, cwd, env)


def _run(
    program: Path, args: tuple[object, ...], cwd: Path | None, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *map(str, args)],
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
