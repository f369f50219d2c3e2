"""The service with the explorer's page on it."""

from __future__ import annotations

from datumaro_clip.explorer.routes import routes
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.service.application import Application, Stores
from datumaro_clip.service.application import create_app as create_service
from datumaro_clip.service.settings import Settings


def create_app(stores: Stores, encoder: Encoder | None = None, settings: Settings | None = None) -> Application:
    """Make a service over stores, as :func:`datumaro_clip.service.create_app`, with the page ``/explore``."""
    return create_service(stores, encoder, settings, pages=(routes,))
