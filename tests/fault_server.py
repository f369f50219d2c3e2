"""A server of pictures on this machine with every fault that servers on the Internet have."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

#: What becomes of a picture of each kind: ``ok``, or the reason that the fetched row must name.
KINDS = {
    "ok": "ok",
    "redirect": "ok",
    "busy": "ok",
    "down": "ok",
    "cut": "ok",
    "broken": "http_500",
    "missing": "http_404",
    "slow": "timeout",
    "endless": "too_many_bytes",
    "announced": "too_many_bytes",
    "short": "wrong_length",
    "html": "not_a_picture",
    "truncated": "not_a_picture",
    "pixels": "too_many_pixels",
    "noai": "noai",
    "loop": "too_many_redirects",
    "private": "forbidden_address",
    "metadata": "forbidden_address",
    "mapped": "forbidden_address",
    "file": "unsupported_address",
}
_ELSEWHERE = {
    "private": "http://10.11.12.13/x.jpg",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "mapped": "http://[::ffff:10.0.0.1]/x.jpg",
    "file": "file:///etc/passwd",
}


def picture(number: int) -> bytes:
    """A picture that no other number has."""
    out = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, number // 256 % 256, 7)).save(out, "PNG")
    return out.getvalue()


def huge() -> bytes:
    """The beginning of a PNG that announces 60,000 x 60,000 pixels, and a body that goes on for long."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    begun = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + begun + struct.pack(">I", 50_000) + b"IDAT" + bytes(50_000)


class FaultServer:
    """Serves ``/KIND/NUMBER`` until closed.

    Parameters
    ----------
    told : callable
        Called with the number of requests so far, at each one.

    Attributes
    ----------
    asked : collections.Counter
        Requests by path.
    agents : set of str
    """

    def __init__(self, told: Callable[[int], None] = lambda count: None) -> None:
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with owner._lock:
                    owner.asked[self.path] += 1
                    owner.agents.add(self.headers["User-Agent"])
                    count, times = owner.asked.total(), owner.asked[self.path]
                told(count)
                kind, number = self.path.strip("/").split("/")
                try:
                    owner._answer(self, kind, int(number), times)
                except OSError:  # the client has gone
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End it, and every answer that is under way."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, to: BaseHTTPRequestHandler, kind: str, number: int, times: int) -> None:
        body = picture(number)
        if kind in _ELSEWHERE or kind == "redirect" or kind == "loop":
            here = {"redirect": f"/ok/{number}", "loop": to.path}
            return _send(to, 302, b"", Location=_ELSEWHERE.get(kind) or here[kind])
        if kind == "busy" and times == 1:
            return _send(to, 429, b"", **{"Retry-After": "0"})
        if (kind == "down" and times < 3) or kind == "broken":
            return _send(to, 500, b"", **{"Retry-After": "0"})
        if kind == "missing":
            return _send(to, 404, b"no")
        if kind == "announced":
            return _send(to, 200, b"", length=1 << 40)
        if kind == "short" or (kind == "cut" and times == 1):
            return _send(to, 200, body[:30], length=len(body))
        if kind in ("slow", "endless"):
            return self._go_on(to, kind)
        bodies = {"html": b"<html>" * 2000, "truncated": body[: len(body) // 2], "pixels": huge()}
        headers = {"X-Robots-Tag": "otherbot: noindex, noai"} if kind == "noai" else {}
        _send(to, 200, bodies.get(kind, body), **headers)

    def _go_on(self, to: BaseHTTPRequestHandler, kind: str) -> None:
        """Send a few bytes now and then, or many without end."""
        to.send_response(200)
        to.send_header("Content-Type", "image/jpeg")
        to.send_header("Connection", "close")
        to.end_headers()
        to.close_connection = True
        while not self._closing.wait(0.05 if kind == "slow" else 0):
            to.wfile.write(b"x" if kind == "slow" else bytes(10_000))


class _Quiet(ThreadingHTTPServer):
    """Clients that are killed are no news."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def _send(to: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
    to.send_response(status)
    to.send_header("Content-Type", "image/jpeg")
    to.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        to.send_header(name, value)
    to.end_headers()
    to.wfile.write(body)
    if length is not None:
        to.close_connection = True
