"""Reads a project's defaults for the commands from the nearest configuration file, checked against the option tables.

The command line takes precedence over the environment, the environment over the file, the file over what is built in.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datumaro_clip.curate.run import COMMON_OPTIONS
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS
from datumaro_clip.errors import OptionError, did_you_mean
from datumaro_clip.host.specs import PLUGINS, store_plugins
from datumaro_clip.model.resolve import MODEL_VARIABLE
from datumaro_clip.options import Flag, Option, add_options
from datumaro_clip.system.configuration import Configuration, find_configuration

#: Options that the file may set for all tools, above their own tables.
SHARED = (
    *(option for option in VECTOR_OPTIONS if option.name != "recompute"),
    *(option for option in COMMON_OPTIONS if option.name == "report"),
)

BUILT_IN = "built in"
# Those that are listed even where nothing sets them.
_BEST_KNOWN = ("model", "device", "precision", "cache", "report")


class Default(NamedTuple):
    """A default in force.

    Attributes
    ----------
    owner : str
        The tool that it is for; empty for all.
    name : str
        Of the option.
    value : object
    source : str
        A file, a variable of the environment, or ``built in``.
    """

    owner: str
    name: str
    value: Any
    source: str

    def __str__(self) -> str:
        source = self.source if self.source == BUILT_IN else f"from {self.source}"
        return f"{self.owner} {self.name} = {self.value}, {source}".lstrip()


def add_configured_options(parser: argparse.ArgumentParser, table: Sequence[Option], owner: str = "") -> None:
    """Declare a table's options with the defaults that the configuration file gives them.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    table : sequence of Option
    owner : str
        The tool or format whose options they are; a command only gets what the file sets for all tools.

    Raises
    ------
    OptionError
        If the file has a key that does not exist or a value that cannot be; names file and key.
    """
    file = find_configuration()
    add_options(parser, table, {} if file is None else _defaults(file, table, owner))


def use_configured_model() -> None:
    """Use the file's ``model`` where nothing else names one, as with ``DATUMARO_CLIP_MODEL``.

    Raises
    ------
    OptionError
        As :func:`add_configured_options`.
    """
    file = find_configuration()
    if file is not None and (model := _shared(file).get("model")):
        os.environ.setdefault(MODEL_VARIABLE, os.fspath(model))


def defaults_in_force(tables: Mapping[str, Sequence[Option]]) -> Iterator[Default]:
    """Return the defaults in force, and where they are set: some shared options always, and all that the file sets.

    Parameters
    ----------
    tables : mapping
        Of options, by tool; a tool that the file names must be there.

    Raises
    ------
    OptionError
        As :func:`add_configured_options`.
    """
    file = find_configuration() or Configuration(Path(), {})
    shared = _shared(file)
    for option in SHARED:
        if option.variable in os.environ:
            yield Default("", option.name, os.environ[option.variable], option.variable)
        elif option.name in shared:
            yield Default("", option.name, shared[option.name], str(file.path))
        elif option.name in _BEST_KNOWN:
            yield Default("", option.name, option.told_default or "none", BUILT_IN)
    for owner in _owners(file):
        own = _own(file, tables[owner], owner)
        yield from (Default(owner, name, value, str(file.path)) for name, value in own.items())


def _defaults(file: Configuration, table: Sequence[Option], owner: str) -> dict[str, Any]:
    """Return the values that a file sets for a tool, by the option's name, without those that the environment sets."""
    shared = _shared(file)
    if "report" in shared:
        shared["report"] = os.path.join(shared["report"], owner)
    # The model for all tools does not override the model of stored vectors: see use_configured_model.
    shared.pop("model", None)
    names = {option.name for option in table if option.variable not in os.environ}
    own = _own(file, table, owner)
    return {name: value for name, value in {**shared, **own}.items() if name in names or name in own}


def _owners(file: Configuration) -> list[str]:
    """Return the tools that a file has a table for."""
    plugins = [spec.name for spec in PLUGINS if spec.kind in ("Transform", "Validator")]
    known = {*plugins, *(spec.name for spec in store_plugins())}
    named = [key for key, value in file.values.items() if isinstance(value, dict)]
    for name in named:
        if name not in known:
            raise OptionError(f"{file.path}: there is no tool or store {name!r}{did_you_mean(name, sorted(known))}")
    return named


def _shared(file: Configuration) -> dict[str, Any]:
    """Return the values for all tools, by the option's name."""
    owners = _owners(file)
    return _checked(file, {key: value for key, value in file.values.items() if key not in owners}, SHARED, "")


def _own(file: Configuration, table: Sequence[Option], owner: str) -> dict[str, Any]:
    """Return the values of a tool's table, by the option's name."""
    return _checked(file, file.values.get(owner, {}), table, owner) if owner in _owners(file) else {}


def _checked(file: Configuration, given: Mapping[str, Any], table: Sequence[Option], owner: str) -> dict[str, Any]:
    place = f"{file.path}, {owner}" if owner else str(file.path)
    options = {option.name: option for option in table}
    found = {}
    for name, value in given.items():
        if name not in options:
            raise OptionError(f"{place}: there is no key {name!r}{did_you_mean(name, sorted(options))}")
        option = options[name]
        try:
            if isinstance(option.kind, Flag) and isinstance(value, bool):
                value = value != option.default  # True stands for the option's name on the command line.
            found[name] = option.kind.located(option.checked(value), file.path.parent)
        except OptionError as exc:
            raise OptionError(f"{place}: {exc}") from exc
    return found
