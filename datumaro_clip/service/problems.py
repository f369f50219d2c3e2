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
from datumaro_clip.service.pictures import NotServedError

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
# The library's errors that a client can do something about, the first that fits; others are faults of the service.
_ERRORS: Mapping[int, tuple[type[Exception], ...]] = {
    404: (NotServedError,),
    409: (DecisionConflictError,),
    415: (ImageError,),
    422: (DecisionError, InvalidVectorError, OptionError, SpaceMismatchError, TextError),
    501: (MissingDependencyError,),
    503: (EngineError, StoreNotFoundError, StoreWriteError),
}
_HTTP_MESSAGES = {
    404: "there is nothing at this address; /docs lists what there is",
    405: "this address does not take that method; /docs lists what it takes",
}


class RequestError(DatumaroClipError, RuntimeError):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        The HTTP status.
    message : str
        One sentence with the cure.
    param : str, optional
        The field that is wrong.
    retry_after : int, optional
        Seconds after which the request may succeed; 1 where omitted and the status is 503.
    kind : str, optional
        The error's type; the status's where omitted.
    headers : mapping, optional
        More headers of the answer.
    **more
        More fields of the answer, such as ``candidates``.
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
        self.retry_after = retry_after or (1 if status == 503 else None)
        self.headers = dict(headers or {})
        self.kind = kind or _TYPES.get(status, "error")

    @property
    def as_json(self) -> dict[str, Any]:
        """The answer's fields."""
        detail = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return {"error": detail, **self.more}


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
    """Return OpenAPI's entries for an endpoint's own errors and for those that every endpoint may answer with."""
    common = (401, 403, 408, 413, 415, 421, 422, 500, 503)
    return {status: {"model": ErrorAnswer} for status in sorted({400, *common, *statuses})}


def answer_to(problem: RequestError, request_id: str) -> Response:
    """Return the response to a problem."""
    headers = dict(problem.headers)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONAnswer({**problem.as_json, "request_id": request_id}, status_code=problem.status, headers=headers)


def as_problem(error: Exception) -> RequestError:
    """Return any exception as a request's error; a fault of the service is logged, and its reason not told."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        message = _HTTP_MESSAGES.get(error.status_code, str(error.detail))
        return RequestError(error.status_code, message, headers=error.headers)
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    for status, kinds in _ERRORS.items():
        if isinstance(error, kinds):
            return RequestError(status, str(error))
    log.error("a request failed", exc_info=error)
    return RequestError(500, "the service failed at this; its log has the reason under this request_id")


def install(app: FastAPI) -> None:
    """Have every exception of an endpoint answered."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = as_problem(error)
        if problem.status == 405:
            path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
            fitting = (route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path))
            methods = {method for route in fitting for method in route.methods or ()}
            problem.headers["Allow"] = ", ".join(sorted(methods))
        return answer_to(problem, request.scope["request_id"])

    for kind in (Exception, DatumaroClipError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def _invalid(errors: Any) -> RequestError:
    """Return what pydantic found wrong, without the values that were sent."""
    first: Mapping[str, Any] = next(iter(errors), {})
    where = list(map(str, first.get("loc", ())))
    # FastAPI begins with the part of the request; a form, or an endpoint's own JSON, begins with the field.
    name = ".".join(where[1:] if where[:1] in (["body"], ["query"], ["path"]) and len(where) > 1 else where)
    said = str(first.get("msg", "it cannot be read")).removeprefix("Value error, ")
    if first.get("type") == "json_invalid":
        return RequestError(422, "the body is not JSON; send application/json")
    message = f"{name}: {said}" if name else said
    return RequestError(422, f"{message}; /docs shows what is wanted", param=name or None)
