"""A search service over stores; ``docs/service.md`` describes it.

Needs the extra ``serve``, which is imported when a service is made: settings can be read without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datumaro_clip.errors import MissingDependencyError
from datumaro_clip.service.settings import Settings, from_environment

if TYPE_CHECKING:
    from datumaro_clip.service.application import app, create_app, named_stores

__all__ = ["Settings", "app", "create_app", "from_environment", "named_stores"]

_EXTRA = ("fastapi", "starlette", "pydantic", "prometheus_client", "python_multipart", "uvicorn")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from datumaro_clip.service import application
    except ModuleNotFoundError as exc:
        if exc.name not in _EXTRA:
            raise
        raise MissingDependencyError(exc.name, "serve", "the search service") from exc
    return getattr(application, name)
