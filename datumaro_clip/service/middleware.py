"""Middleware around every request: its id, log line and metrics, and the limits of its body."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.problems import RequestError, answer_to, as_problem
from datumaro_clip.service.settings import Settings

log = logging.getLogger("datumaro_clip.service.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Room for the selection of all rows of a large store; other JSON is far smaller.
_MOST_JSON = 8 << 20
# A form is a little larger than its files.
_FORM_ROOM = 64 << 10


class RequestObserver:
    """Counts, times and logs every request, by the template of its route.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        scope["request_id"] = request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        status, is_whole = 0, False
        start = time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status, is_whole
            is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
                headers.setdefault("Cache-Control", "no-store")
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, observed)
            except Exception as error:  # The last place where a fault can still become an answer.
                # Starlette raises an error again after it has answered it: then there is nothing left to do.
                if status and not is_whole:
                    raise
                if not status:
                    await answer_to(as_problem(error), request_id)(scope, receive, observed)
            finally:
                self._count(scope, status, time.perf_counter() - start)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        found = scope.get("route")
        route = found.path if isinstance(found, Route) else "unmatched"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.info(
            "request",
            extra={
                "request_id": scope["request_id"],
                "method": method,
                "route": route,
                "status": status,
                "milliseconds": round(1000 * seconds, 2),
                "client": (scope.get("client") or ("",))[0],
            },
        )


class BodyLimits:
    """Answers 413 to a body that is too large, 408 to one that stalls, and closes the connection.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit(scope)
        has_begun = False
        is_whole = False
        arrived = 0

        async def bounded() -> Message:
            nonlocal arrived, is_whole
            try:
                message = await (receive() if is_whole else asyncio.wait_for(receive(), self._settings.stall_timeout))
            except (TimeoutError, asyncio.TimeoutError) as exc:
                raise _Stopped(RequestError(408, "the body stopped arriving; send the request again")) from exc
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if arrived > limit:
                    raise _Stopped(_too_large(limit))
            return message

        async def observed(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            if int(Headers(scope=scope).get("content-length", "0")) > limit:
                raise _Stopped(_too_large(limit))
            await self._app(scope, bounded, observed)
        except _Stopped as stopped:
            if not has_begun:
                answer = answer_to(stopped.problem, scope["request_id"])
                # The rest of the body is not waited for.
                answer.headers["Connection"] = "close"
                await answer(scope, receive, send)

    def _limit(self, scope: Scope) -> int:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == "/ingest/batch":
            return 10 * self._settings.max_upload
        if path == "/v1/embeddings":
            # Base64 is a third longer than what it encodes.
            return 2 * self._settings.max_upload
        if Headers(scope=scope).get("content-type", "").startswith("multipart/form-data"):
            return self._settings.max_upload + _FORM_ROOM
        return _MOST_JSON


class _Stopped(BaseException):
    """Ends a request; not an Exception, so that no handler on the way catches it."""

    def __init__(self, problem: RequestError) -> None:
        self.problem = problem


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"the body is larger than {limit} bytes; send less, or raise --max-upload")
