"""Middleware for each request's id, log line and metrics, and for the answer to an unexpected fault."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.problems import answer_to, as_problem

log = logging.getLogger("datumaro_clip.service.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Observed:
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
