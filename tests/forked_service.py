"""Starts a service anew at each line of standard input, in a fork: quick enough to be killed fifty times.

Run as ``python forked_service.py STORE``; prints the process id and the port of each, then its log on standard error.
"""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from datumaro_clip.service import Settings, create_app
from datumaro_clip.testing import FakeEncoder


def serve(store: str, listening: socket.socket) -> None:
    """Serve until killed."""
    app = create_app({"colours": store}, FakeEncoder(), Settings())
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def main() -> None:
    """Fork once a line."""
    for _ in sys.stdin:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        child = os.fork()
        if not child:
            serve(sys.argv[1], listening)
            os._exit(0)
        print(child, listening.getsockname()[1], flush=True)
        listening.close()
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
