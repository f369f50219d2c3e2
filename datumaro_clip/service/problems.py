"""Errors as answers: one JSON shape, a sentence with the cure, nothing of what was sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from datumaro_clip.errors import (
    DatumaroClipError,
    DecisionConflictError,
    DecisionError,
    EngineError,
    ImageError,
    InvalidVectorError,
    MissingDependencyError,
    OptionError,
    SpaceMismatchError,
    StoreNotFoundError,
    StoreWriteError,
    TextError,
)
from datumaro_clip.service.answers import JSONAnswer

log = logging.getLogger(__name__)

_TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media",
    416: "range_not_satisfiable",
    421: "misdirected",
    422: "invalid_request",
    500: "internal",
    501: "not_set_up",
    503: "busy",
}
# What a client can do about an error of the library; others are faults of the service.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (ImageError, 415),
    (TextError, 422),
    (SpaceMismatchError, 422),
    (InvalidVectorError, 422),
    (MissingDependencyError, 501),
    (OptionError, 422),
    (DecisionConflictError, 409),
    (DecisionError, 422),
    (EngineError, 503),
    (StoreNotFoundError, 503),
    (StoreWriteError, 503),
)
_RETRY_SECONDS = 1


class RequestError(DatumaroClipError, RuntimeError):
    """An answer that says why a request cannot be done.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        One sentence with the cure.
    param : str, optional
        The field that it is about.
    retry_after : int, optional
        Seconds after which the request may succeed.
    kind : str, optional
        The error's type, where it is another than the status's.
    headers : mapping, optional
        Of the answer.
    **more
        Further fields of the answer, as ``candidates``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.more = status, param, more
        self.retry_after, self.headers = retry_after, dict(headers or {})
        self.kind = kind or _TYPES.get(status, "error")

    @property
    def told(self) -> dict[str, Any]:
        """What an answer says of it."""
        detail = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return {"error": detail, **self.more}


def busy(message: str) -> RequestError:
    """The answer where there is too much to do at the moment."""
    return RequestError(503, message, retry_after=_RETRY_SECONDS)


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="what is wrong, and what to do about it")
    type: str
    param: str | None = Field(description="the field that it is about")
    code: int


class ErrorAnswer(BaseModel):
    """Every error's shape."""

    error: ErrorDetail
    request_id: str
    candidates: list[dict[str, Any]] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entries of OpenAPI for the errors that an endpoint may answer with, beside those that any may."""
    common = (401, 403, 408, 413, 415, 421, 422, 500, 503)
    return {status: {"model": ErrorAnswer} for status in sorted({400, *common, *statuses})}


def answer_to(problem: RequestError, request_id: str) -> Response:
    """A problem as a response."""
    retry = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
    headers = {**problem.headers, **retry}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONAnswer({**problem.told, "request_id": request_id}, status_code=problem.status, headers=headers)


def as_problem(error: Exception) -> RequestError:
    """Any exception as an answer; what no client can mend is logged, and not told."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, _http_message(error), headers=error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    for kind, status in _STATUS:
        if isinstance(error, kind):
            retry = _RETRY_SECONDS if status == 503 else None
            return RequestError(status, str(error), retry_after=retry)
    log.error("a request failed", exc_info=error)
    return RequestError(500, "the service failed at this; its log has the reason under this request_id")


def install(app: FastAPI) -> None:
    """Let every exception of an endpoint become an answer."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = as_problem(error)
        if problem.status == 405:
            problem.headers["Allow"] = ", ".join(_allowed(app, request))
        return answer_to(problem, request.scope.get("request_id", ""))

    for kind in (Exception, DatumaroClipError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods that an address takes, of whichever endpoint."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    fitting = (route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path))
    return sorted({method for route in fitting for method in route.methods or ()})


def _http_message(error: HTTPException) -> str:
    if error.status_code == 404:
        return "there is nothing at this address; /docs lists what there is"
    if error.status_code == 405:
        return "this address does not take that method; /docs lists what it takes"
    return str(error.detail)


def _invalid(errors: Any) -> RequestError:
    """What pydantic says, without the values that were sent."""
    first: Mapping[str, Any] = next(iter(errors), {})
    where = list(map(str, first.get("loc", ())))
    # FastAPI begins with the part of the request; what a form or an endpoint's own JSON says begins with the field.
    name = ".".join(where[1:] if where[:1] in (["body"], ["query"], ["path"]) and len(where) > 1 else where)
    said = str(first.get("msg", "it cannot be read")).removeprefix("Value error, ")
    if first.get("type") == "json_invalid":
        return RequestError(422, "the body is not JSON; send application/json", param=None)
    message = f"{name}: {said}; /docs shows what is wanted" if name else f"{said}; /docs shows what is wanted"
    return RequestError(422, message, param=name or None)
