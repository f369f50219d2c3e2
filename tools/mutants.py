"""Mutation testing: change the code at one small place at a time, and see whether its tests fail. The sample is seeded.

    python tools/mutants.py [--again]

`make mutants` runs it in a clone, `build/mutants`, as a module is changed where it lies. Cosmic Ray makes the mutants
and keeps the results, so a run that was killed goes on. `mutants.toml` says what is drawn, and which tests each has;
of these, those that reach the changed statement are run, which `reaching.py` notes beforehand. With `--again`, mutants
that survived are tried once more, with the tests of the project's last commit. Prints each survivor and, for each part,
how many mutants were caught. Remove `build/mutants` to draw from a newer commit.
"""

from __future__ import annotations

import argparse
import compileall
import difflib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import psutil
import pytest
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult
from reaching import Chooser, Recorder, lines_of_statement, quickest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path("datumaro_clip")
BUILD = Path("build")
REACHED = BUILD / "reached"
CONFIG = Path(__file__).with_suffix(".toml")
PYTEST = (
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--hypothesis-profile=mutants"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of libraries that are loaded before pytest begins
)
_MEMORY = 8 << 30
# Tests hang if they use less than so much processor time in so many seconds.
_STILL, _LEAST_WORK = 20, 0.1
LATE = "the tests work for too long, or stand still"
# Libraries that take long to load and import nothing of this package.
LIBRARIES = ("cv2", "h5py", "hypothesis", "numkong", "numpy", "openvino", "orjson", "PIL.Image", "pyarrow", "scipy")


def draw(config: Mapping[str, Any]) -> list[WorkItem]:
    """Draw as many mutants of each part as the configuration says, at most one at each place of the code."""
    paths = {part: _modules(each) for part, each in config["parts"].items()}
    excluded = re.compile("|".join(config["excluded"]))
    places = defaultdict(list)
    with use_db(":memory:") as every:
        init(chain.from_iterable(paths.values()), every, {})
        for item in every.work_items:
            (mutation,) = item.mutations
            if not excluded.match(mutation.operator_name):
                places[mutation.module_path, mutation.start_pos, mutation.end_pos].append(item)
    chance = random.Random(config["seed"])
    drawn = []
    for part, each in config["parts"].items():
        inside = sorted(place for place in places if place[0] in paths[part])
        drawn += [chance.choice(sorted(places[place], key=_kind)) for place in chance.sample(inside, each["count"])]
    return drawn


def _modules(part: Mapping[str, Any]) -> list[Path]:
    return sorted(path for glob in part["modules"] for path in PACKAGE.glob(glob))


def _kind(item: WorkItem) -> tuple[str, int]:
    return item.mutations[0].operator_name, item.mutations[0].occurrence


def tests_of(module: Path, listed: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the test files of a module: those named after it, those listed for it, then those of the nearest room."""
    name = module.relative_to(PACKAGE).with_suffix("")
    own = sorted(path.stem.removeprefix("test_") for path in Path("tests").glob(f"test_{'_'.join(name.parts)}*.py"))
    nearest = next((listed[str(room)] for room in name.parents if str(room) in listed), ())
    return [f"tests/test_{test}.py" for test in dict.fromkeys([*own, *listed.get(str(name), ()), *nearest])]


def fails(runs: Sequence[tuple[str, Recorder | Chooser]]) -> tuple[bool, str]:
    """Return whether one of the tests fails, takes too much processor time, or hangs; and the output of pytest.

    The tests run in a fork of this process, which has loaded the libraries: a mutant costs little more than its tests.
    """
    said = (BUILD / "pytest.log").resolve()
    process = multiprocessing.get_context("fork").Process(target=_run_pytest, args=(runs, said))
    process.start()
    worked, stands_still = 0.0, False
    while process.is_alive() and not stands_still:
        process.join(_STILL)
        before, worked = worked, _work_of(process.pid)
        stands_still = process.is_alive() and worked < before + _LEAST_WORK
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    late = stands_still or process.exitcode == -signal.SIGXCPU
    return process.exitcode != 0, LATE if late else said.read_text(errors="replace")


def _work_of(pid: int) -> float:
    """Return the seconds of processor time that a process and its children have used."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))
    return 0.0


def _run_pytest(runs: Sequence[tuple[str, Recorder | Chooser]], said: Path) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for test, plugin in runs:  # One by one: often the first fails, and the others need not be loaded.
        code = pytest.main([*PYTEST, f"--basetemp={BUILD / 'tmp'}", test], [plugin])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(code)
    sys.exit(0)


def try_each(items: Sequence[WorkItem], db: WorkDB, config: Mapping[str, Any]) -> None:
    """Test mutants, and save each result."""
    for number, item in enumerate(items, 1):
        (mutation,) = item.mutations
        path, operator = mutation.module_path, get_operator(mutation.operator_name)(**mutation.operator_args)
        with use_mutation(path, operator, mutation.occurrence) as (before, after):
            lines = lines_of_statement(before, mutation.start_pos[0])
            tests = {test: Chooser(_noted(test), path, lines) for test in tests_of(path, config["tests"])}
            quickest(list(tests.values()), config["seconds"])
            caught, said = fails([run for run in tests.items() if run[1]])
        outcome = TestOutcome.KILLED if caught else TestOutcome.SURVIVED
        diff = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), n=0, lineterm="")
        db.set_result(item.job_id, WorkResult(WorkerOutcome.NORMAL, said, outcome, "\n".join(diff)))
        print(f"{number} of {len(items)}: {outcome.value} {path}:{mutation.start_pos[0]}", flush=True)


def report(db: WorkDB, parts: Mapping[str, Any]) -> None:
    """Print the survivors, and for each part the number of mutants tried and caught."""
    results = [(item.mutations[0].module_path, result) for item, result in db.completed_work_items]
    print(*sorted(result.diff for _, result in results if not result.is_killed), sep="\n\n")
    for part, each in parts.items():
        found = [result for path, result in results if path in _modules(each)]
        caught, late = sum(result.is_killed for result in found), sum(result.output == LATE for result in found)
        print(f"{part}: {len(found)} of {each['count']} tried, {caught} caught, {late} of them by their time")


def note_reached(modules: Iterable[Path], listed: Mapping[str, Sequence[str]]) -> None:
    """Note the lines that each test file reaches, unless that was noted since the file changed.

    Exits if a test fails without a mutant: such a test would seem to catch every mutant.
    """
    for test in sorted({test for module in modules for test in tests_of(module, listed)}):
        noted = REACHED / f"{Path(test).stem}.json"
        if not noted.exists() or noted.stat().st_mtime < Path(test).stat().st_mtime:
            print(f"without a mutant: {test}", flush=True)
            failed, said = fails([(test, Recorder(PACKAGE, noted))])
            if failed:
                noted.unlink(missing_ok=True)
                sys.exit(f"{said}\n{test} fails without a mutant: mend it, or remove build/mutants to draw anew.")


@cache
def _noted(test: str) -> Any:
    return json.loads((REACHED / f"{Path(test).stem}.json").read_text(encoding="utf-8"))


def main() -> int:
    """Draw the sample if there is none, test the mutants that have no result, and report."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--again", action="store_true", help="try survivors again, with the tests of the last commit")
    again = parser.parse_args().again
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    _git("checkout", "--quiet", "--", str(PACKAGE))  # a run that was killed leaves its mutant
    if again:
        _git("fetch", "--quiet", "origin", "HEAD")
        _git("checkout", "--quiet", "FETCH_HEAD", "--", "tests")
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)
    REACHED.mkdir(parents=True, exist_ok=True)
    with use_db(BUILD / "mutants.sqlite") as db:
        if not db.num_work_items or again:
            # Files are written twice a second, so their times do not tell whether the compiled file is current.
            compileall.compile_dir(PACKAGE, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
            if not db.num_work_items:
                db.add_work_items(draw(config["sample"]))
        note_reached({item.mutations[0].module_path for item in db.work_items}, config["tests"])
        sys.dont_write_bytecode = True
        survivors = [item for item, result in db.completed_work_items if not result.is_killed] if again else []
        try_each([*survivors, *db.pending_work_items], db, config)
        report(db, config["sample"]["parts"])
    return 0


def _git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
