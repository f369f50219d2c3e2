"""``datum-clip cache``: show, verify or clear the vector cache."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import OptionError
from datumaro_clip.host.configured import add_configured_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "action",
        choices=("info", "clear", "verify"),
        help="show its path and size; remove all vectors; read all vectors and remove damaged ones",
    )
    add_configured_options(parser, [option for option in VECTOR_OPTIONS if option.name == "cache"])
    parser.add_argument("--json", action="store_true", help="print info as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action; return 1 if ``verify`` finds damage."""
    if args.cache is not None and not Path(args.cache).is_dir():
        raise OptionError(f"{args.cache} holds no vector cache; check --cache")
    if args.json and args.action != "info":
        raise OptionError("--json goes with info")
    with VectorCache(args.cache) as cache:
        info = cache.info()
        if args.action == "clear":
            say(f"{cache.clear()} vectors removed from {cache.path}")
        elif args.action == "verify":
            damaged = cache.verify()
            say(f"{info.vectors} vectors read, {damaged} damaged and removed")
            return 1 if damaged else 0
        elif args.json:
            say_json(asdict(info))
        else:
            of = f"{info.bytes / 1e6:.1f} MB of at most {info.max_bytes / 1e6:.0f} MB"
            say(f"{info.path}: {info.vectors} vectors, {of}")
    return 0
