"""Middleware that limits bodies while they arrive: their announced length may be wrong, or missing."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datumaro_clip.service.problems import RequestError, answer_to
from datumaro_clip.service.settings import Settings

# Room for the selection of all rows of a large store; other JSON is far smaller.
_MOST_JSON = 8 << 20
# A form is a little larger than its files.
_FORM_ROOM = 64 << 10


class BoundedBodies:
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
