"""The options of commands that run on a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from datumaro_clip.cli.arguments import at_least

if TYPE_CHECKING:
    from datumaro_clip.curate.near.threads import Crew


def add_ray(parser: Any, workers: str = "one a processor") -> None:
    """Declare ``--ray`` and ``--workers`` on a parser or a group of one."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster: auto or HOST:PORT (default: RAY_ADDRESS, else this machine)",
    )
    parser.add_argument("--workers", type=at_least(1), metavar="N", help=f"with --ray (default: {workers})")


@contextmanager
def crew_of(args: argparse.Namespace) -> Iterator[Crew]:
    """Who looks at pictures for a block: threads, or with ``--ray`` workers of a cluster."""
    if args.ray is None:
        from datumaro_clip.curate.near.threads import workers

        yield workers
        return
    from datumaro_clip.distributed.ray import cluster
    from datumaro_clip.distributed.ray_pool import RayPool

    with cluster(args.ray or None):
        pool = RayPool(args.workers)
        yield lambda: nullcontext(pool)
