"""The ASGI application: middleware around routes, made over stores."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from datumaro_clip.errors import OptionError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.objects.detector import Detector
from datumaro_clip.objects.directory import find_detector
from datumaro_clip.objects.openvino import OpenVINODetector
from datumaro_clip.service import problems
from datumaro_clip.service.access import AccessControl
from datumaro_clip.service.bodies import BoundedBodies
from datumaro_clip.service.observed import Observed
from datumaro_clip.service.problems import RequestError, answer_to
from datumaro_clip.service.routes import embeddings, ingest, operations, pictures, records, search
from datumaro_clip.service.serving import Service
from datumaro_clip.service.settings import PREFIX, Settings, from_environment
from datumaro_clip.store import Header, create_store, open_store
from datumaro_clip.system.entry_points import load, offered
from datumaro_clip.system.machine import library_versions

log = logging.getLogger(__name__)

Stores = Mapping[str, str | os.PathLike[str]]

_ABOUT = "Search, records and ingest over stores of datumaro-clip. Errors are one shape; see docs/service.md."
_SUBJECTS = (search, records, pictures, ingest, embeddings, operations)

Page = Callable[[Service], APIRouter]
#: Entry points of this group are :data:`Page`: what packages, the explorer of this one among them, show over a service.
PAGES = "datumaro_clip.pages"


def create_app(
    stores: Stores,
    encoder: Encoder | None = None,
    settings: Settings | None = None,
    detector: Detector | None = None,
    *,
    pages: Iterable[Page] | None = None,
) -> Application:
    """Make a service over stores.

    Parameters
    ----------
    stores : mapping
        Directories of stores, by the names under which they are served; all of one vector space.
    encoder : Encoder, optional
        Of that space; the model that the settings name, or the one at hand of the space, where omitted.
    settings : Settings, optional
    detector : Detector, optional
        Of objects in new pictures; the one that the settings name, if any, where omitted.
    pages : iterable of callable, optional
        Each makes more routes over the running service; those that installed packages offer, as the explorer's, where
        omitted.

    Returns
    -------
    Application
        An ASGI application.

    Raises
    ------
    OptionError
        If there is no store, or a setting cannot be used.
    PluginError
        If a page of another package cannot be loaded.
    SpaceMismatchError
        If a store's vectors are of another space.
    StoreError, ModelError
        If a store cannot be opened, or the model cannot be had.
    """
    settings = settings or Settings()
    paths = {name: Path(path) for name, path in stores.items()}
    for path in paths.values():
        _require_store(path, settings)
    if detector is None and settings.detector is not None:
        detector = OpenVINODetector(find_detector(settings.detector), settings.device)
    if encoder is None:
        # The model that the settings name, or that made the stores' vectors.
        name = settings.model or _fingerprint(paths)
        encoder = load_model(name, device=settings.device, precision=settings.precision)
    service = Service(paths, encoder, settings, detector)
    api = FastAPI(
        title="datumaro-clip",
        version=library_versions(["datumaro-clip"])["datumaro-clip"],
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "MIT"},
        # What a client may send beside the path is the endpoint's own business.
        redirect_slashes=False,
    )
    problems.install(api)
    for subject in _SUBJECTS:
        api.include_router(subject.routes(service))
    for page in map(load, offered(PAGES).values()) if pages is None else pages:
        api.include_router(page(service))
    _describe_security(api, service)
    return Application(api, service)


def app() -> Application:
    """The service that the environment describes, for ``uvicorn --factory datumaro_clip.service:app``.

    ``DATUMARO_CLIP_SERVE_STORES`` names the stores, with blanks between; other settings as ``docs/service.md`` says.
    """
    return create_app(named_stores(os.environ.get(f"{PREFIX}STORES", "").split()), settings=from_environment())


def named_stores(arguments: list[str]) -> dict[str, Path]:
    """Stores by name, from ``DIRECTORY`` or ``NAME=DIRECTORY``.

    Raises
    ------
    OptionError
        If two have one name.
    """
    stores: dict[str, Path] = {}
    for argument in arguments:
        name, is_named, path = argument.partition("=")
        directory = Path(path if is_named else argument)
        name = name if is_named else directory.resolve().name
        if name in stores:
            raise OptionError(f"two stores are called {name}; give one another name: NAME={directory}")
        stores[name] = directory
    return stores


class Application:
    """A service as an ASGI application.

    Attributes
    ----------
    service : Service
        What its endpoints share.
    openapi : dict
        What they take and answer.
    """

    def __init__(self, api: FastAPI, service: Service) -> None:
        self.service, self.openapi = service, api.openapi()
        self._inner = _guarded(api, service)

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            await service.start()
            yield
            await service.stop()

        self._lifespan = Starlette(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        prefix = self.service.settings.root_path
        if scope["path"] != prefix and not scope["path"].startswith(f"{prefix}/"):
            await answer_to(RequestError(404, f"everything here is below {prefix}"), "")(scope, receive, send)
            return
        await self._inner({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)


def _guarded(api: FastAPI, service: Service) -> ASGIApp:
    """The routes within what looks at each request first."""
    inner: ASGIApp = BoundedBodies(api, service.settings)
    inner = AccessControl(inner, service.settings, service.tokens)
    if service.settings.cors_origin:
        # Without credentials: a page of another origin sends its token itself, never this service's cookie.
        inner = CORSMiddleware(
            inner,
            allow_origins=list(service.settings.cors_origin),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
        )
    return Observed(inner, service.metrics)


def _require_store(path: Path, settings: Settings) -> None:
    """Make an empty store where none is, if the settings say so."""
    if path.exists():
        return
    if not settings.create:
        raise OptionError(f"there is nothing at {path}; check the path, or begin with an empty store: --create")
    with create_store(path, "clip_mmap", Header()):
        log.info("%s is a new store", path)


def _fingerprint(stores: Mapping[str, Path]) -> str | None:
    """Of the space of the stores' vectors, where they have any."""
    for path in stores.values():
        with open_store(path) as store:
            if store.header.space is not None:
                return store.header.space.fingerprint
    return None


def _describe_security(api: FastAPI, service: Service) -> None:
    """Let OpenAPI say that a token is wanted, where one is."""
    if not service.tokens:
        return
    made = api.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        return schema

    api.openapi = openapi  # type: ignore[method-assign]
