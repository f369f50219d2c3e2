"""``datum-clip fetch``: download the pictures of a table of URLs."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields
from pathlib import Path

from datumaro_clip.cli.parsing import at_least
from datumaro_clip.cli.printing import say
from datumaro_clip.errors import OptionError
from datumaro_clip.system.terminal import progress
from datumaro_clip.tables.fetch.run import FetchOptions, fetch_table
from datumaro_clip.tables.options import TableOptions

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add, default = parser.add_argument, FetchOptions()
    add("table", type=Path, help="the table")
    add("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to; interrupted runs continue there")
    add("--url-column", metavar="NAME", help="column of URLs (default: found by its name)")
    add("--threads", type=at_least(1), default=default.threads, help="requests at once (default: %(default)s)")
    add("--per-host", type=at_least(1), default=default.per_host, help="of these to one host (default: %(default)s)")
    add("--retries", type=at_least(0), default=default.retries, help="after temporary errors (default: %(default)s)")
    add("--timeout", type=_seconds, default=default.timeout, help="seconds for an answer (default: %(default)g)")
    add("--max-wait", type=_seconds, default=default.max_wait, help="most seconds between tries (default: %(default)g)")
    add("--max-bytes", type=at_least(1), default=default.max_bytes, help="of an answer (default: %(default)s)")
    add("--max-pixels", type=at_least(1), default=default.max_pixels, help="of a picture (default: %(default)s)")
    add("--resize", type=at_least(1), metavar="N", help="scale down to N pixels on the longest side")
    add("--image-ext", metavar=".EXT", help="re-encode pictures, for example as .webp")
    add("--retry-failed", action="store_true", help="ask again for rows that failed in an earlier run")
    add("--ignore-noai", action="store_true", help="fetch what X-Robots-Tag refuses for machine learning")
    add("--contact", default="", metavar="TEXT", help="contact address for the User-Agent")
    add("--proxy", metavar="URL", help="proxy to use; it looks up host names, unchecked")
    add("--allow-address", action="append", default=[], metavar="NETWORK", help="private network that may be asked")


def run(args: argparse.Namespace) -> int:
    """Fetch the pictures, and print how many rows succeeded, and how many failed for which reason."""
    if not args.table.is_file():
        raise OptionError(f"{args.table} is no file; check the path")
    # httpx logs every request; the bar and the table tell its result.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    given = {each.name: getattr(args, each.name) for each in fields(FetchOptions)}
    options = FetchOptions(**{**given, "allow_address": tuple(args.allow_address)})
    with progress(None, "row", "Fetching") as bar:
        counts = fetch_table(args.table, args.output_dir, TableOptions(url_column=args.url_column), options, bar.update)
    failed = {reason: count for reason, count in sorted(counts.items()) if reason != "ok"}
    told = f" ({', '.join(f'{reason} {count}' for reason, count in failed.items())})" if failed else ""
    if failed.get("forbidden_address"):
        _log.warning("addresses of private networks are not connected to; --allow-address NETWORK allows one")
    if failed and not args.retry_failed:
        _log.info("the same command with --retry-failed asks again for the rows that failed")
    say(f"{counts.total()} rows: {counts['ok']} pictures in {args.output_dir}, {sum(failed.values())} failed{told}")
    return 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"wanted seconds above 0, got {text!r}")
    return value
