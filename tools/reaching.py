"""Pytest plugins that note which tests reach each line, and how long they take, and that run only those for a mutant.

`mutants.py` first runs each test file without a mutant; for a mutant it then runs the fastest tests that reach it.
"""

from __future__ import annotations

import ast
import json
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import coverage
import pytest

# A test may use so many times the processor time that it used before, and so many seconds more; loading a test file may
# use so many seconds.
_LONGER, _MORE, _LOADING = 3, 10, 30


class Recorder:
    """A pytest plugin that notes which tests reach each line, and writes that to a JSON file.

    Lines that a shared fixture reaches, or the import of the package, are noted for all tests that use it. A test that
    starts processes counts as reaching every line, since the lines that they reach are not seen.
    """

    def __init__(self, package: Path, file: Path) -> None:
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=[f"{package}/*"])
        self._file = file
        self._context = ""
        self._seconds: dict[str, float] = {}
        self._fixtures: dict[str, list[str]] = {}
        self._everywhere: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_parse(self) -> None:
        self._coverage.start()  # before the tests import the package

    @contextmanager
    def _in_context(self, context: str) -> Iterator[None]:
        outer, self._context = self._context, context
        self._coverage.switch_context(context)
        yield
        self._context = outer
        self._coverage.switch_context(outer)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Iterator[None]:
        began, others = time.perf_counter(), _work_of_children()
        with self._in_context(item.nodeid):
            result = yield
        self._seconds[item.nodeid] = time.perf_counter() - began
        for name in item.fixturenames:
            self._fixtures.setdefault(f"fixture {name}", []).append(item.nodeid)
        if _work_of_children() > others:
            self._everywhere.append(item.nodeid)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        with self._in_context(f"fixture {fixturedef.argname}"):
            return (yield)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        tests = {"": list(self._seconds), **self._fixtures, **{test: [test] for test in self._seconds}}
        number = {context: n for n, context in enumerate(tests)}
        lines: dict[str, dict[int, list[int]]] = {}
        for path in data.measured_files():
            reached = data.contexts_by_lineno(path)
            lines[os.path.relpath(path)] = {line: [number[each] for each in names] for line, names in reached.items()}
        noted = {
            "seconds": self._seconds,
            "everywhere": self._everywhere,
            "contexts": list(tests.values()),
            "lines": lines,
        }
        self._file.write_text(json.dumps(noted), encoding="utf-8")


def _work_of_children() -> float:
    return sum(os.times()[2:4])


class Chooser:
    """A pytest plugin that runs only the tests that reach some lines, the fastest first.

    Tests that were not noted, because a mutant changes their names, are run, too. A test that takes much longer than
    before ends the process. It is false if no test reaches the lines.
    """

    def __init__(self, noted: Mapping[str, Any], module: Path, lines: range) -> None:
        reached = noted["lines"].get(str(module), {})
        numbers = {number for line in lines for number in reached.get(str(line), ())}
        reaching = {*noted["everywhere"], *(test for number in numbers for test in noted["contexts"][number])}
        self._noted = noted["seconds"].keys()
        #: Seconds of each test that is chosen.
        self.seconds: dict[str, float] = {test: noted["seconds"][test] for test in reaching}

    def __bool__(self) -> bool:
        return bool(self.seconds)

    def leave_out(self, longer: float) -> None:
        """Leave out the tests that took longer than so many seconds."""
        self.seconds = {test: seconds for test, seconds in self.seconds.items() if seconds <= longer}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = (item for item in items if item.nodeid in self.seconds or item.nodeid not in self._noted)
        items[:] = sorted(chosen, key=lambda item: self.seconds.get(item.nodeid, 0))

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_parse(self) -> None:
        _limit_work(_LOADING)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        _limit_work(_LONGER * self.seconds.get(item.nodeid, 0) + _MORE)


def _limit_work(seconds: float) -> None:
    """End this process when it has used so many more seconds of processor time."""
    limit = int(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def lines_of_statement(source: str, line: int) -> range:
    """Return the lines of the innermost statement at a line; of a statement with a body, those before the body."""
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))
    around = [node for node in statements if node.lineno <= line <= (node.end_lineno or line)]
    if not around:
        return range(line, line + 1)
    innermost = max(around, key=lambda node: node.lineno)
    body = getattr(innermost, "body", None)
    end = body[0].lineno if body else (innermost.end_lineno or line) + 1
    return range(innermost.lineno, end) if line < end else range(line, line + 1)


def quickest(choosers: Sequence[Chooser], seconds: float) -> None:
    """Leave out the slowest tests, so that the others take at most so many seconds together."""
    times = sorted(time for chooser in choosers for time in chooser.seconds.values())
    fitting = [time for time, together in zip(times, accumulate(times), strict=True) if together <= seconds]
    for chooser in choosers:
        chooser.leave_out(fitting[-1] if fitting else 0.0)
