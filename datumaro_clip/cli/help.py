"""``datum-clip help``: print the options of a tool or a format, without a dataset."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from datumaro_clip.cli.printing import say_lines
from datumaro_clip.errors import OptionError, did_you_mean
from datumaro_clip.host.specs import PLUGINS, PluginSpec, store_plugins

# How Datumaro's commands take a plugin of each kind; its options follow the dashes.
_USAGE = {
    "Transform": "datum transform -t {} -o OUT DATASET[:FORMAT] --",
    "Validator": "datum validate -t {} DATASET[:FORMAT] --",
    "Exporter": "datum export -i DATASET[:FORMAT] -f {} -o OUT --",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's argument."""
    parser.add_argument("tool", nargs="?", help="its name (default: list all)")


def run(args: argparse.Namespace) -> int:
    """Print the help of one, or the names of all tools and formats with their summaries."""
    plugins = {spec.name: spec for spec in (*PLUGINS, *store_plugins()) if spec.kind in _USAGE}
    if args.tool is None:
        for name, spec in sorted(plugins.items()):
            say_lines(f"{name:<16} {_summary(spec)}")
        return 0
    if args.tool not in plugins:
        hint = did_you_mean(args.tool, plugins) or f"; there are {', '.join(sorted(plugins))}"
        raise OptionError(f"there is no tool or format {args.tool}{hint}; of a command, say datum-clip COMMAND --help")
    say_lines(_parser(plugins[args.tool]).format_help())
    return 0


def _summary(spec: PluginSpec) -> str:
    """Return the first sentence of a plugin's description, in one line; Datumaro marks the ends of lines by ``|n``."""
    words = " ".join((_parser(spec).description or "").replace("|n", " ").split())
    return words.partition(". ")[0].removesuffix(".")


def plugin_class(spec: PluginSpec) -> Any:
    """Import the class of a plugin."""
    module, _, name = spec.import_path.rpartition(".")
    return getattr(import_module(module), name)


def _parser(spec: PluginSpec) -> argparse.ArgumentParser:
    """Return the parser of the options that follow the dashes in Datumaro's command."""
    parser: argparse.ArgumentParser = plugin_class(spec).build_cmdline_parser(prog=_USAGE[spec.kind].format(spec.name))
    return parser
