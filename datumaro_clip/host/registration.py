"""Makes the plugins known to a Datumaro environment."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from datumaro.components.environment import DEFAULT_ENVIRONMENT, Environment
from datumaro.components.lazy_plugin import get_lazy_plugin

from datumaro_clip.errors import MissingDependencyError
from datumaro_clip.host.specs import PLUGINS, store_plugins


def lazy_plugins() -> list[Any]:
    """Return every plugin of this package, in the lazy form in which Datumaro keeps its own."""
    return [
        get_lazy_plugin(
            spec.import_path,
            spec.name,
            spec.kind,
            [],
            {"file_extensions": list(spec.file_extensions)} if spec.kind == "Importer" else {},
        )
        for spec in (*PLUGINS, *store_plugins())
    ]


def register(env: Environment | None = None) -> Environment:
    """Add the plugins to an environment.

    Parameters
    ----------
    env : datumaro.components.environment.Environment, optional
        The default environment where omitted.

    Returns
    -------
    datumaro.components.environment.Environment
        The same environment.
    """
    env = DEFAULT_ENVIRONMENT if env is None else env
    registries = (env.extractors, env.importers, env.exporters, env.transforms, env.validators)
    known = {name for registry in registries for name in registry}
    env.register_plugins([plugin for plugin in lazy_plugins() if plugin.NAME not in known])
    return env


def require_libraries(*names: str) -> None:
    """Raise unless each library can be imported.

    Datumaro's scan of a plugin directory logs a ``ModuleNotFoundError`` at debug level only; any other error is a
    warning that is seen.

    Raises
    ------
    MissingDependencyError
        Naming the first library that is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingDependencyError(name, None, "this plugin")
