"""The service as an ASGI application: routes over stores, within middleware."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from datumaro_clip.errors import OptionError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.objects.detector import Detector
from datumaro_clip.objects.directory import find_detector
from datumaro_clip.objects.openvino import OpenVINODetector
from datumaro_clip.service import problems
from datumaro_clip.service.access import AccessControl
from datumaro_clip.service.middleware import BodyLimits, RequestObserver
from datumaro_clip.service.problems import RequestError, answer_to
from datumaro_clip.service.routes import embeddings, ingest, operations, pictures, records, search
from datumaro_clip.service.serving import Service
from datumaro_clip.service.settings import PREFIX, Settings, from_environment
from datumaro_clip.store import Header, create_store, open_store
from datumaro_clip.system.entry_points import load, offered
from datumaro_clip.system.machine import library_versions

log = logging.getLogger(__name__)

_ABOUT = "Search, records and ingest over stores of datumaro-clip. Errors are one shape; see docs/service.md."
_SUBJECTS = (search, records, pictures, ingest, embeddings, operations)

Page = Callable[[Service], APIRouter]
#: Entry points of this group are each a :data:`Page`: pages that packages add to a service, such as our own explorer.
PAGES = "datumaro_clip.pages"


def create_app(
    stores: Mapping[str, str | os.PathLike[str]],
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
        Computes vectors of that space; where omitted, the model that the settings name, or else one at hand of the
        space.
    settings : Settings, optional
    detector : Detector, optional
        Finds objects in new pictures; where omitted, the one that the settings name, if any.
    pages : iterable of callable, optional
        Each returns more routes for a running service; where omitted, the pages that installed packages offer, such as
        the explorer.

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
        if not path.exists():
            if not settings.create:
                raise OptionError(f"there is nothing at {path}; check the path, or begin with an empty store: --create")
            with create_store(path, "clip_mmap", Header()):
                log.info("%s is a new store", path)
    if detector is None and settings.detector is not None:
        detector = OpenVINODetector(find_detector(settings.detector), settings.device)
    if encoder is None:
        # The model that the settings name, or that made the stores' vectors.
        name = settings.model or _fingerprint(paths)
        encoder = load_model(name, device=settings.device, precision=settings.precision)
    service = Service(paths, encoder, settings, detector)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    api = FastAPI(
        title="datumaro-clip",
        version=library_versions(["datumaro-clip"])["datumaro-clip"],
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "MIT"},
        # A wrong address gets the answer 404 in the usual shape, not a redirect.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(api)
    for subject in _SUBJECTS:
        api.include_router(subject.routes(service))
    for page in map(load, offered(PAGES).values()) if pages is None else pages:
        api.include_router(page(service))
    if service.tokens:
        # FastAPI keeps the schema, and serves the changed one.
        schema = api.openapi()
        schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
    return Application(api, service)


def app() -> Application:
    """Make the service that the environment describes, for ``uvicorn --factory datumaro_clip.service:app``.

    ``DATUMARO_CLIP_SERVE_STORES`` names the stores, with blanks between; other settings as ``docs/service.md`` says.
    """
    return create_app(named_stores(os.environ.get(f"{PREFIX}STORES", "").split()), settings=from_environment())


def named_stores(arguments: list[str]) -> dict[str, Path]:
    """Read stores, by name, from arguments ``DIRECTORY`` or ``NAME=DIRECTORY``.

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
    """

    def __init__(self, api: FastAPI, service: Service) -> None:
        self.service = service
        inner: ASGIApp = BodyLimits(api, service.settings)
        inner = AccessControl(inner, service.settings, service.tokens)
        if service.settings.cors_origin:
            # Without credentials: a page of another origin sends its token itself, never this service's cookie.
            inner = CORSMiddleware(
                inner,
                allow_origins=list(service.settings.cors_origin),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            )
        self._api, self._inner = api, RequestObserver(inner, service.metrics)

    @property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description of its endpoints, made when it is first needed: it takes a quarter of a second."""
        return self._api.openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._api(scope, receive, send)
            return
        if scope["type"] == "websocket":
            # The middleware guards requests only: a websocket of an added page would need no token.
            await WebSocketClose()(scope, receive, send)
            return
        prefix = self.service.settings.root_path
        if scope["path"] != prefix and not scope["path"].startswith(f"{prefix}/"):
            await answer_to(RequestError(404, f"everything here is below {prefix}"), "")(scope, receive, send)
            return
        await self._inner({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)


def _fingerprint(stores: Mapping[str, Path]) -> str | None:
    """Return the fingerprint of the stores' vector space; None where no store has vectors."""
    for path in stores.values():
        with open_store(path) as store:
            if store.header.space is not None:
                return store.header.space.fingerprint
    return None
