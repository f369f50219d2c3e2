"""Runs ``datum`` and ``datum-clip``, each in a process of its own, forked from one that has imported them already.

What a command does is all its own but the seconds that its imports take. Run as ``python forked_commands.py FOLDER``:
it puts programs of these names, and a ``forked-python`` that takes ``-c CODE``, into the folder. They ask it to run
them; it ends with its standard input.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import select
import signal
import socket
import stat
import sys
from pathlib import Path

PROGRAMS = ("datum", "datum-clip", "forked-python")
# What most commands need; nothing here starts threads or reads the environment that a command is run in.
_IMPORTED = (
    "datumaro.cli.__main__",
    "openvino",
    "datumaro_clip.cli",
    "datumaro_clip.host.embed",
    "datumaro_clip.host.formats",
    "datumaro_clip.host.tables.writing",
    "datumaro_clip.host.transform",
    "datumaro_clip.store.hdf5",
)
# Hands over its arguments, folder, environment and open streams, and ends with the status that it is told.
_CLIENT = """\
#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    streams = array.array("i", [0, 1, 2])
    server.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    server.sendall(json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    status = server.recv(4)
sys.exit(int(status or 255))
"""


def _received(asked: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """A command's words, folder and environment, and its three streams."""
    size = array.array("i", [0, 0, 0])
    _, ancillary, *_ = asked.recvmsg(1, socket.CMSG_SPACE(len(size.tobytes())))
    streams = array.array("i")
    streams.frombytes(ancillary[0][2])
    text = b"".join(iter(lambda: asked.recv(1 << 16), b""))
    words, folder, environment = json.loads(text)
    return words, folder, environment, streams.tolist()


def _begin(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> int:
    """Run a command in this process, as its installed script does, or ``forked-python -c CODE``."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    name = Path(words[0]).name
    if name == "forked-python":
        _, _, code, *arguments = words
        sys.argv = ["-c", *arguments]
        exec(code, {"__name__": "__main__"})
        return 0
    sys.argv = [str(Path(sys.executable).parent / name), *words[1:]]
    if name == "datum":
        from datumaro.cli.__main__ import main
    else:
        from datumaro_clip.cli import main
    return int(main() or 0)


def _answer(asked: socket.socket) -> None:
    """Run the command that is asked for in a child, and tell its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words, folder, environment, streams = _received(asked)
    child = os.fork()
    if not child:
        asked.close()
        # Python itself ends the process, as any other: what is registered for its end is done.
        sys.exit(_begin(words, folder, environment, streams))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asked.sendall(str(status if status >= 0 else 128 - status).encode())
    os._exit(0)


def main() -> None:
    """Fork once a command."""
    folder = Path(sys.argv[1])
    # None of the folders of this program's own is a command's.
    del sys.path[0]
    for name in _IMPORTED:
        importlib.import_module(name)
    # Imports the module of each command, too.
    importlib.import_module("datumaro_clip.cli").make_parser()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    address = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        for name in PROGRAMS:
            program = folder / name
            program.write_text(_CLIENT.format(python=sys.executable, address=address))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        print("ready", flush=True)
        while sys.stdin not in (ready := select.select([sys.stdin, listening], [], [])[0]):
            asked, _ = ready[0].accept()
            if not os.fork():
                listening.close()
                _answer(asked)
            asked.close()


if __name__ == "__main__":
    main()
