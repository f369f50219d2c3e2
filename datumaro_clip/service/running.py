"""The service as a process: its socket, its log, its end."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from datumaro_clip.errors import OptionError, with_cure
from datumaro_clip.service.application import Application
from datumaro_clip.service.settings import Settings

log = logging.getLogger(__name__)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def run(app: Application, settings: Settings, announce: Callable[[str], None] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status.

    At a signal the service is no longer ready, takes no more connections, finishes the requests that it has begun, and
    closes its stores.

    Parameters
    ----------
    app : Application
    settings : Settings
    announce : callable, optional
        Called with the address; where omitted, the address is logged, and the log is lines of JSON.

    Raises
    ------
    OptionError
        If the service cannot listen on the address.
    """
    if announce is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JSONLines())
        logging.getLogger().handlers[:] = [handler]
    else:
        # A person sees the address and what goes wrong, not each request.
        for name in ("uvicorn", "datumaro_clip.service.requests"):
            logging.getLogger(name).setLevel(logging.WARNING)
    listening = listen(settings)
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
    log.info("listening on %s", address) if announce is None else announce(address)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxy),
        forwarded_allow_ips=list(settings.trusted_proxy),
        timeout_graceful_shutdown=int(settings.stop_timeout),
        h11_max_incomplete_event_size=64 << 10,
    )
    _Server(config, app).run(sockets=[listening])
    return 0


class _Server(uvicorn.Server):
    """Marks the service as stopping as soon as a signal comes."""

    def __init__(self, config: uvicorn.Config, app: Application) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.service.stopping = True
        super().handle_exit(sig, frame)
        # Otherwise uvicorn raises the signal again at its end, and the exit status would be that of a kill.
        self._captured_signals.clear()


class JSONLines(logging.Formatter):
    """Writes a log record as one line of JSON, with everything that was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the settings' address.

    Raises
    ------
    OptionError
        If it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because only then asyncio switches Nagle's algorithm off; with it answers wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        # Listens before the address is announced, so that whoever reads it can connect at once.
        listening.listen(socket.SOMAXCONN)
    except OSError as exc:
        listening.close()
        raise OptionError(
            f"cannot listen on {settings.host}:{settings.port}: {with_cure(exc)}; choose another --port"
        ) from exc
    return listening
