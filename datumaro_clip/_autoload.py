"""Lets Datumaro find this package's plugins with nothing imported beforehand.

Datumaro knows neither entry points nor a plugin path, so a ``.pth`` file imports this package at start-up, and
:func:`install` puts a finder first on ``sys.meta_path``. The finder waits for some of Datumaro's modules and
extends each right after it has been loaded; until then it costs a dictionary look-up per import. A Datumaro
whose modules have changed only loses these plugins, with one warning. Standard library only.

``DATUMARO_CLIP_AUTOLOAD=0`` keeps the ``.pth`` file from doing anything. Annotations are quoted because importing
``__future__`` or ``typing`` is most of what this module would cost every Python process.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def install() -> None:
    """Extend Datumaro: now, where its modules are loaded already, else as soon as they are. Runs once."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, extend in _EXTENSIONS.items():
        if name in sys.modules:
            _guarded(extend, sys.modules[name])
    if "datumaro.components.environment" in sys.modules:
        _guarded(_register_late, sys.modules["datumaro.components.environment"])


class _Finder:
    """Finds the modules to extend as Python does, and has them extended once they are loaded."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        extend = _EXTENSIONS.get(name)
        if extend is None:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ExtendingLoader(spec.loader, extend)  # type: ignore[assignment]
        return spec


class _ExtendingLoader:
    """Loads one module by another loader, which stays as it is since others may share it, and extends the module."""

    def __init__(self, loader: "Any", extend: "Callable[[ModuleType], None]") -> None:
        self._loader, self._extend = loader, extend

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def exec_module(self, module: "Any") -> None:
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _guarded(self._extend, module)


def _guarded(extend: "Callable[[ModuleType], None]", module: "ModuleType") -> None:
    """Extend a module of Datumaro's; if that fails, Datumaro goes on without us."""
    try:
        extend(module)
    except Exception as exc:
        _warn(exc)


def _warn(exc: Exception) -> None:
    """Warn once in a process that the plugins are missing."""
    if _warned:
        return
    _warned.append(exc)
    import warnings

    warnings.warn(
        f"datumaro-clip could not join Datumaro ({type(exc).__name__}: {exc}); its plugins are unavailable. "
        "Upgrade datumaro-clip, or set DATUMARO_CLIP_AUTOLOAD=0 to silence this.",
        RuntimeWarning,
        stacklevel=2,
    )


_warned: "list[Exception]" = []


def _with_more(function: str, more: "Callable[[], list[Any]]") -> "Callable[[Any], None]":
    """Let a function of Datumaro's that returns a list return ours, too."""

    def extend(module: "Any") -> None:
        builtin = getattr(module, function)

        def extended() -> "list[Any]":
            found: "list[Any]" = builtin()
            try:
                found += more()
            except Exception as exc:
                _warn(exc)
            return found

        setattr(module, function, extended)

    return extend


def _plugins() -> "list[Any]":
    from datumaro_clip.host.registration import lazy_plugins

    return lazy_plugins()


def _commands() -> "list[Any]":
    from datumaro_clip.host import datum_commands

    return [("export", datum_commands, datum_commands.HELP)]


def _register_late(module: "Any") -> None:
    """Join an environment whose built-in plugins were read before this package was imported."""
    if module.Environment._builtin_plugins is not None:
        from datumaro_clip.host.registration import register

        module.Environment._builtin_plugins += _plugins()
        register(module.DEFAULT_ENVIRONMENT)


def _extend_main(module: "Any") -> None:
    builtin = module.main

    def main(args: "Sequence[str] | None" = None) -> int:
        from datumaro_clip.system.terminal import open_missing_streams

        open_missing_streams()
        from datumaro_clip.host.datum_main import run

        return run(builtin, args)

    module.main = main


def _extend_tasks(module: "Any") -> None:
    """Let ``datum validate -t`` take our validators beside its own tasks; it only asks for their names."""
    from enum import Enum

    from datumaro_clip.host.specs import PLUGINS

    names = [task.name for task in module.TaskType]
    names += [plugin.name for plugin in PLUGINS if plugin.kind == "Validator"]
    setattr(module, "TaskType", Enum("TaskType", " ".join(names)))  # noqa: B010 - mypy takes it for a declaration


def _extend_with_formats(command: str) -> "Callable[[Any], None]":
    """Let a command that writes in the source's format take another by ``-f``."""

    def extend(module: "Any") -> None:
        from datumaro_clip.host.datum_commands import add_format, choose_format

        setattr(module, command, choose_format(module, getattr(module, command)))
        module.build_parser = add_format(module.build_parser)

    return extend


def _widen_merged_masks(module: "Any") -> None:
    builtin = module.merge_masks

    def merge_masks(masks: "Any", start: "Any" = None) -> "Any":
        from datumaro_clip.host.repairs import widened

        return builtin(widened(masks), start)

    module.merge_masks = merge_masks


def _spare_others(module: "Any") -> None:
    """Where a command of ours reads, let a picture that is a link out of the dataset's folder fail alone."""
    from datumaro_clip.host.repairs import sparing_others

    module.join_within_base = sparing_others(module.join_within_base)


_EXTENSIONS: "dict[str, Callable[[Any], None]]" = {
    "datumaro.plugins.specs": _with_more("get_lazy_plugins", _plugins),
    "datumaro.cli.commands": _with_more("get_non_project_commands", _commands),
    "datumaro.cli.__main__": _extend_main,
    "datumaro.cli.commands.filter": _extend_with_formats("filter_command"),
    "datumaro.cli.commands.transform": _extend_with_formats("transform_command"),
    "datumaro.cli.commands.validate": _extend_tasks,
    "datumaro.util.mask_tools": _widen_merged_masks,
    "datumaro.util.os_util": _spare_others,
}
