"""The time that the start-up hook adds to every Python process, and to ``datum``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, seconds

COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], 20),
    "datum --help": ([sys.executable, "-m", "datumaro", "--help"], 3),
}


def run(work: Path) -> Iterator[Figure]:
    """Measure the time that the hook adds to each command."""
    for name, (command, repeats) in COMMANDS.items():
        without, with_hook = (_milliseconds(command, repeats, hook) for hook in ("0", "1"))
        beside = f"{with_hook:.1f} ms with it, {without:.1f} ms without"
        yield Figure("startup", f"the hook's share of {name}", with_hook - without, "ms", against=beside)


def _milliseconds(command: list[str], repeats: int, hook: str) -> float:
    """The shortest time of a command; Python keeps what it compiles, as it does of what pip installs."""
    environment = {**os.environ, "DATUMARO_CLIP_AUTOLOAD": hook, "PYTHONDONTWRITEBYTECODE": ""}
    return 1000 * seconds(lambda: subprocess.run(command, env=environment, capture_output=True, check=True), repeats)
