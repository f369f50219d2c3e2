"""Health and metrics for operators; the documentation and the login for people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from datumaro_clip.service import responses
from datumaro_clip.service.access import COOKIE, SESSION_SECONDS
from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.metrics import CONTENT_TYPE_LATEST
from datumaro_clip.service.problems import RequestError, documented
from datumaro_clip.service.serving import Service


def routes(service: Service) -> APIRouter:
    """Make ``/healthz``, ``/readyz``, ``/metrics``, ``/docs`` and ``/login``."""
    router = APIRouter(tags=["operations"])
    prefix = service.settings.root_path

    @router.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> Response:
        return JSONAnswer({"status": "alive"})

    @router.get("/readyz", responses=documented(), summary="Whether the service is ready for requests")
    async def readyz() -> Response:
        service.require_ready()
        return JSONAnswer({"status": "ready"})

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @router.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return responses.page("docs.html", allow_inline_style=True)

    @router.get("/login", include_in_schema=False)
    async def login_page() -> Response:
        return responses.page("login.html")

    @router.post("/login", include_in_schema=False)
    async def login(request: Request, token: Annotated[str, Form(max_length=1000)]) -> Response:
        right = service.tokens.right_of(token)
        if right is None:
            raise RequestError(401, "this token opens nothing; ask for one of those in the service's token file")
        answer = RedirectResponse(f"{prefix}/docs", status_code=303)
        answer.set_cookie(
            COOKIE,
            service.tokens.begin_session(right),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            path=prefix or "/",
        )
        return answer

    @router.get("/assets/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        return responses.file(name, request.headers)

    @router.get("/favicon.ico", include_in_schema=False)
    async def favicon(request: Request) -> Response:
        return responses.file("favicon.svg", request.headers)

    @router.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse(f"{prefix}/docs")

    return router
