"""Says which library is missing, where Datumaro's plugin scan would pass over a module in silence."""

from __future__ import annotations

from importlib.util import find_spec

from datumaro_clip.errors import MissingDependencyError


def require_libraries(*names: str) -> None:
    """Raise unless each library can be imported.

    Datumaro's scan logs a ``ModuleNotFoundError`` at debug level only; any other error is a warning that is seen.

    Raises
    ------
    MissingDependencyError
        Naming the first library that is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingDependencyError(name, None, "this plugin")
