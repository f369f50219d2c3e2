"""A stand-in for a hub on this machine: the part of its protocol that the client needs, and ways to misbehave."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/small"

# Smaller than the client's own chunk, which would make it begin small files anew.
CHUNK = 4096
BREAK_AFTER = 5 * CHUNK


@dataclass
class Hub:
    """What the stand-in serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes]
    url: str = ""
    private: bool = False
    #: So many times, close the connection in the middle of a file.
    breaks: int = 0
    #: A file that never comes through.
    stuck: str = ""
    #: A file of which only the beginning comes, when all others have been ``sent``: it is ``held`` until ``released``.
    slow: str = ""
    sent: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    #: Leave so many bytes off each file's end, and say so in no header of the listing.
    leave_off: int = 0
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)


def make_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """The part of the hub's protocol that the client needs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if hub.private:
                return self._error(401, "RepoNotFound")
            if match := re.fullmatch(rf"/api/models/{REPOSITORY}(?:/(revision|tree)/([^/]+))?", path):
                return self._listing(match[1], match[2] or "main")
            if match := re.fullmatch(rf"/{REPOSITORY}/resolve/([^/]+)/(.+)", path):
                return self._file(match[2], body)
            return self._error(404, "RepoNotFound")

        def _listing(self, kind: str | None, revision: str) -> None:
            if revision not in ("main", COMMIT):
                return self._error(404, "RevisionNotFound")
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": sha1(data).hexdigest()}
                for name, data in hub.files.items()
            ]
            siblings = [{"rfilename": name} for name in hub.files]
            info = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
            return self._send(200, json.dumps(entries if kind == "tree" else info).encode(), {})

        def _file(self, name: str, body: bool) -> None:
            if name not in hub.files:
                return self._error(404, "EntryNotFound")
            data = hub.files[name]
            headers = {
                "ETag": f'"{sha1(data).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            start = 0
            if body and (wanted := self.headers.get("Range")):
                hub.ranges.append(wanted)
                start = int(re.fullmatch(r"bytes=(\d+)-.*", wanted)[1])  # type: ignore[index]
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            if body and name == hub.stuck:
                self.close_connection = True
                return None
            part = data[start : len(data) - hub.leave_off if body else None]
            self._send(206 if start else 200, part, headers, body=body, slowly=name == hub.slow)
            if body:
                hub.sent.release()
            return None

        def _send(
            self, status: int, data: bytes, headers: dict[str, str], *, body: bool = True, slowly: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and hub.breaks and len(data) > BREAK_AFTER:
                hub.breaks -= 1
                self.wfile.write(data[:BREAK_AFTER])
                self.wfile.flush()
                self.close_connection = True
            elif body and slowly:
                self._hold(data[:BREAK_AFTER])
            elif body:
                self.wfile.write(data)

        def _hold(self, beginning: bytes) -> None:
            for _ in range(len(hub.files) - 1):
                hub.sent.acquire(timeout=30)
            self.wfile.write(beginning)
            self.wfile.flush()
            hub.held.set()
            hub.released.wait()
            self.close_connection = True

        def _error(self, status: int, code: str) -> None:
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    return Handler
