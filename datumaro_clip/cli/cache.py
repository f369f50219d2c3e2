"""``datum-clip cache``: look at, check and empty the vector cache."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cache import VectorCache, cache_directory

NAME = "cache"
HELP = "look at, check or empty the vector cache"

_ACTIONS = ("info", "clear", "verify")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=_ACTIONS, help="show what is in it; remove everything; read every vector")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=cache_directory(), help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 if ``verify`` finds damage."""
    with VectorCache(args.cache) as cache:
        return {"info": _info, "clear": _clear, "verify": _verify}[args.action](cache)


def _info(cache: VectorCache) -> int:
    info = cache.info()
    print(f"{info.path}: {info.vectors} vectors, {info.bytes / 1e6:.1f} MB of at most {info.max_bytes / 1e6:.0f} MB")
    return 0


def _clear(cache: VectorCache) -> int:
    print(f"{cache.clear()} vectors removed from {cache.path}")
    return 0


def _verify(cache: VectorCache) -> int:
    count, damaged = cache.info().vectors, cache.verify()
    print(f"{count} vectors read, {damaged} damaged and removed")
    return 1 if damaged else 0
