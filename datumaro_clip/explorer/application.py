"""The service with the explorer's page on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from datumaro_clip.explorer.routes import routes
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.service.application import Application, Stores
from datumaro_clip.service.application import create_app as create_service
from datumaro_clip.service.settings import Settings


def create_app(
    stores: Stores,
    encoder: Encoder | None = None,
    settings: Settings | None = None,
    *,
    sources: Mapping[str, str] | None = None,
    report: Path | None = None,
) -> Application:
    """Make a service over stores, as :func:`datumaro_clip.service.create_app`, with the page ``/explore``.

    Parameters
    ----------
    stores, encoder, settings
        As there.
    sources : mapping, optional
        The datasets, as ``PATH:FORMAT``, that stores were made of, by the stores' names: decisions are about those.
    report : Path, optional
        A directory that a tool's ``--report`` wrote about the first store; what it proposes is reviewed on the page.

    Raises
    ------
    DecisionError
        If the report is of another vector space, or of items that the store does not have.
    """
    return create_service(stores, encoder, settings, pages=(partial(routes, sources=sources, report=report),))
