"""The demonstration: runs the whole product on a drawn catalogue, with the commands that a user would type."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datumaro_clip.demo.catalogue.plan import COPIES
from datumaro_clip.demo.planted import PlantedDefects
from datumaro_clip.errors import DatumaroClipError

# Lines that are not shown: Datumaro's own, and what the end of the tour says once.
_UNTOLD = ("Transforming...", "Results have been saved", "Exporting the dataset", "Not implemented:", "model tiny: ")

# The planted defects that clip_clean should find.
_CLEAN = ("missing_file", "unreadable_file", "empty_caption", "garbled_caption")


class Step(NamedTuple):
    """A command, its purpose, and the planted defects that it should find."""

    title: str
    command: str
    planted: tuple[str, ...] = ()


def steps(items: int, seed: int) -> Iterator[Step]:
    """Yield the commands in order, as they are printed; paths are relative to the demonstration's directory."""
    yield Step("Draw a catalogue", f"datum-clip catalogue -o catalogue --items {items} --seed {seed}")
    yield _transform("Throw out what is broken", "clean", "clip_clean", "catalogue", "", _CLEAN)
    yield Step(
        "Embed every picture and caption",
        "datum transform -t clip_embed -o embedded clean:coco -- --model tiny --texts captions --store vectors",
    )
    yield _transform(
        "Remove captions of other pictures", "aligned", "clip_align", "clean", "--drop-captions", ("foreign_caption",)
    )
    yield _transform("Remove copies, keeping the best-aligned one", "unique", "clip_dedup", "aligned", "", COPIES)
    yield _transform(
        "Find what fits no neighbour", "typical", "clip_outliers", "unique", "", ("outlier", "wrong_label")
    )
    yield _transform("Choose a diverse sample", "sample", "clip_sample", "typical", f"--count {items // 4}")
    yield Step(
        "Export to an embedding store",
        "datum export -i typical:coco -f clip_hdf5 -o store -- --model tiny --texts captions --save-media",
    )
    yield Step("Convert the store to YOLO", "datum convert -i store -f yolo -o yolo -- --save-media")
    yield Step("Search by a text", 'datum-clip search store "a large red umbrella" -k 3')
    yield Step("Search in French", 'datum-clip search store "une armoire bleue à rayures" -k 3')
    yield Step("Search one subset only", 'datum-clip search store "a green ball" -k 3 --subset val --subset test')


def _transform(title: str, output: str, name: str, source: str, options: str, planted: tuple[str, ...] = ()) -> Step:
    model = "" if name == "clip_clean" else "--model tiny "
    options = f"{model}{options}{' ' if options else ''}--report report-{output}"
    return Step(title, f"datum transform -t {name} -o {output} {source}:coco -- {options}", planted)


def run_tour(items: int, seed: int, keep: Path | None = None) -> None:
    """Print and run every step; end with the paths of the reports, and what to try next.

    Parameters
    ----------
    items, seed : int
        Of the catalogue.
    keep : Path, optional
        A new or empty directory to work in; a new temporary one if omitted.

    Raises
    ------
    DemoError
        If ``keep`` holds something, or a step fails.
    """
    started = time.monotonic()
    directory = _working_directory(keep).resolve()
    for step in steps(items, seed):
        print(f"\n# {step.title}\n$ {step.command}", flush=True)
        _run(step.command, directory)
        if step.planted:
            report = directory / step.command.rpartition("--report ")[2] / "decisions.jsonl"
            print(PlantedDefects.read(directory / "catalogue").judge(report, step.planted))
    example = next((directory / "typical" / "images").rglob("*.jpg")).relative_to(directory)
    by_picture = f"datum-clip search store --image {example} -k 3"
    print(f"\n# Search by a picture\n$ {by_picture}", flush=True)
    _run(by_picture, directory)
    print(_farewell(directory, time.monotonic() - started))


def _working_directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="datumaro-clip-demo-"))
    if wanted.exists() and any(wanted.iterdir()):
        raise DemoError(f"{wanted} is not empty; give --keep a new directory")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


class DemoError(DatumaroClipError, RuntimeError):
    """The demonstration cannot go on."""


def _run(command: str, directory: Path) -> None:
    """Run one of our commands, and print its output without timestamps, log levels and Datumaro's own lines."""
    program, *arguments = shlex.split(command)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=directory,
        env={**os.environ, "PATH": path},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = map(_told, process.stdout.split("\n"))
    print(*(f"    {line}" for line in lines if line), sep="\n", flush=True)
    if process.returncode:
        raise DemoError(f"the command ended with status {process.returncode}: {command}")


def _told(line: str) -> str:
    """Strip the time and level from a line of the log; return "" for a line that is not shown."""
    line = line.rstrip()
    for level in (" INFO: ", " WARNING: ", " ERROR: "):
        line = line.partition(level)[2] or line
    return "" if line.startswith(_UNTOLD) else line


def _farewell(directory: Path, seconds: float) -> str:
    reports = "\n".join(f"    {path}" for path in sorted(directory.glob("report-*/report.html")))
    return f"""
Done in {seconds:.0f} seconds. Reports with pictures, to open in a browser:
{reports}

On your own data, with a model that knows photos:
    datum transform -t clip_dedup -o OUT path/to/coco:coco -- --report REPORT
    datum export -i path/to/yolo:yolo -f clip_hdf5 -o STORE -- --save-media
    datum-clip search STORE "what you look for\""""
