"""The stages of a tour: each is measured, told in a table, and not done twice by a tour that is taken up again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

_BIN = Path(sys.executable).parent
_PATIENCE = 300.0


class Counts(NamedTuple):
    """What a stage was given, what it handed on, and how many items it left out for which reason."""

    items_in: int
    items_out: int
    dropped: Mapping[str, int] = {}
    note: str = ""


class Tour:
    """A directory in which stages are done one after another.

    Parameters
    ----------
    directory : Path
        What has been done is written to ``stages.jsonl`` there, one line a stage.
    environment : mapping, optional
        Variables of the commands that are run.
    """

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(_BIN), os.environ.get("PATH", "")])
        self._environment = {**os.environ, "PATH": path, **environment}
        self._journal = self.directory / "stages.jsonl"
        self.done: list[dict[str, Any]] = self._read()
        self._usage = _Usage()
        self.open = ExitStack()

    def __enter__(self) -> Tour:
        return self

    def __exit__(self, *error: object) -> None:
        self.open.close()

    def stage(self, name: str, work: Callable[..., Counts], *arguments: object, makes: Sequence[str] = ()) -> None:
        """Do a stage, unless an earlier run did.

        Parameters
        ----------
        name : str
        work : callable
            Called with the tour and the arguments.
        makes : sequence of str
            What it writes in the directory and cannot take up again: removed first, where a kill left some of it.
        """
        if any(stage["stage"] == name for stage in self.done):
            print(f"\n# {name}: done before", flush=True)
            return
        print(f"\n# {name}", flush=True)
        for path in map(self.directory.joinpath, makes):
            shutil.rmtree(path, ignore_errors=True)
        self._usage = _Usage(self._usage.servers)
        counts = work(self, *arguments)
        self._write({"stage": name, **counts._asdict(), **self._usage.told()})

    def run(self, command: str) -> str:
        """Run a command in the directory, show what it says, and return its standard output.

        Raises
        ------
        RuntimeError
            If it ends with another status than 0.
        """
        print(f"$ {command}", flush=True)
        process = subprocess.Popen(
            shlex.split(command),
            executable=shutil.which(shlex.split(command)[0], path=self._environment["PATH"]),
            cwd=self.directory,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        out = process.stdout.read()
        self._usage.add(process)
        print(*(f"    {line[:160]}" for line in out.splitlines()[-12:]), sep="\n", flush=True)
        if process.returncode:
            raise RuntimeError(f"the command ended with status {process.returncode}: {command}")
        return out

    def serve(self, command: str) -> Served:
        """Start a command that serves, and wait until it is ready."""
        print(f"$ {command}", flush=True)
        served = Served(shlex.split(command), self.directory, self._environment)
        self.open.callback(served.end)
        self._usage.watch(served.process.pid)
        served.wait()
        return served

    def end(self, served: Served, *, kill: bool = False) -> None:
        """End a service, with SIGKILL where asked for."""
        self._usage.let_go(served.process.pid)
        served.end(kill=kill)

    def table(self) -> str:
        """The stages as a table in Markdown."""
        lines = ["| stage | in | out | dropped | s | CPU s | MB |", "| --- | --- | --- | --- | --- | --- | --- |"]
        for stage in self.done:
            dropped = ", ".join(f"{reason} {count:,}" for reason, count in stage["dropped"].items())
            told = "; ".join(part for part in (dropped, stage["note"]) if part)
            lines.append(
                f"| {stage['stage']} | {stage['items_in']:,} | {stage['items_out']:,} | {told} "
                f"| {stage['seconds']:.0f} | {stage['cpu_seconds']:.1f} | {stage['memory']:.0f} |"
            )
        seconds, cpu = (sum(stage[name] for stage in self.done) for name in ("seconds", "cpu_seconds"))
        return "\n".join([*lines, f"| all | | | | {seconds:.0f} | {cpu:.1f} | |"])

    def _read(self) -> list[dict[str, Any]]:
        """The stages of earlier runs; a line that a kill cut off is cut off the file."""
        if not self._journal.exists():
            return []
        whole = [line for line in self._journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
        self._journal.write_text("".join(whole))
        return [json.loads(line) for line in whole]

    def _write(self, stage: dict[str, Any]) -> None:
        with self._journal.open("a") as file:
            file.write(json.dumps(stage) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done.append(stage)
        print(f"    {stage['items_in']} in, {stage['items_out']} out, {stage['cpu_seconds']:.1f} CPU s", flush=True)


class _Usage:
    """Seconds, processor seconds and memory of a stage: its commands', the servers' that it asks, and its own."""

    def __init__(self, servers: Mapping[int, float] = {}) -> None:
        self._began, self._own = time.monotonic(), time.process_time()
        self._cpu, self._memory = 0.0, 0.0
        self.servers: dict[int, float] = {pid: _cpu_of(pid) for pid in servers if psutil.pid_exists(pid)}

    def watch(self, pid: int) -> None:
        """Count a server's processor time from its start, or from now where it runs already."""
        self.servers[pid] = 0.0

    def add(self, process: subprocess.Popen[str]) -> None:
        """Wait for a command, and count it."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._cpu += usage.ru_utime + usage.ru_stime
        self._memory = max(self._memory, usage.ru_maxrss / 1000)

    def let_go(self, pid: int) -> None:
        """Count what a server has used."""
        self._cpu += _cpu_of(pid) - self.servers.pop(pid)
        self._memory = max(self._memory, psutil.Process(pid).memory_info().rss / 1e6)

    def told(self) -> dict[str, float]:
        """The figures."""
        for pid in list(self.servers):
            self.let_go(pid)
        own = time.process_time() - self._own
        return {"seconds": time.monotonic() - self._began, "cpu_seconds": self._cpu + own, "memory": self._memory}


def _cpu_of(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class Served:
    """A service in a process of its own.

    Attributes
    ----------
    process : subprocess.Popen
    url : str
        Its address.
    client : httpx.Client
    """

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self._log = directory / f"serve-{time.time_ns()}.log"
        program = shutil.which(command[0], path=environment["PATH"])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, executable=program, cwd=directory, env=environment, stdout=log, stderr=log
            )
        self.url = ""
        self.client = httpx.Client(timeout=120, trust_env=False)

    def wait(self) -> None:
        """Wait until it is ready; RuntimeError with its log if it does not become so."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"listening on (http://[^\s\"]+)", self._log.read_text(errors="replace"))
            if found:
                self.url = found[1]
                self.client.base_url = httpx.URL(self.url)
                if self.client.get("/readyz").status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the service did not become ready:\n{self._log.read_text(errors='replace')[-2000:]}")

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a request with a JSON body is answered."""
        return self.client.post(path, json=body).raise_for_status().json()

    def end(self, *, kill: bool = False) -> None:
        """End the process, with SIGKILL where asked for."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill() if kill else self.process.terminate()
        self.process.wait()


def dropped_items(report: Path) -> Counter[str]:
    """Items that a report's ``decisions.jsonl`` drops, by reason; not those that lose a caption or a box alone."""
    decisions = [json.loads(line) for line in (report / "decisions.jsonl").read_text().splitlines()[1:]]
    return Counter(one["reason"] for one in decisions if one["action"] == "drop" and one.get("annotation") is None)
