"""``datum-clip serve``: serve stores over HTTP."""

from __future__ import annotations

import argparse
from typing import Any

from datumaro_clip.service.settings import Option, options


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: one for each setting of the service."""
    parser.add_argument("stores", nargs="+", metavar="STORE", help="a store's directory, or NAME=DIRECTORY")
    for option in options():
        parser.add_argument(f"--{option.name.replace('_', '-')}", **_keywords(option))


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted or terminated."""
    # Here, since it needs the extra, which other commands do not.
    from datumaro_clip.service import create_app, from_environment, named_stores
    from datumaro_clip.service.running import run as serve

    given = {option.name: value for option in options() if (value := getattr(args, option.name)) is not None}
    settings = from_environment(**given)
    return serve(create_app(named_stores(args.stores), settings=settings), settings)


def _keywords(option: Option) -> dict[str, Any]:
    """Return the argparse keywords of a setting; what is not given is left to the environment."""
    default, text = option.default, option.help.text.replace("%", "%%")
    shown = text if default in (None, (), False, "") or "default" in text else f"{text} (default: {default})"
    if option.kind is bool:
        return {"action": "store_true", "default": None, "help": shown}
    several = {"action": "append"} if isinstance(default, tuple) else {}
    return {"type": option.kind, "metavar": option.help.metavar, "help": shown, **several}
