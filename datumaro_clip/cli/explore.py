"""``datum-clip explore``: see a dataset in the browser, search it, and decide."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from datumaro_clip.service.settings import from_environment

NAME = "explore"
HELP = "see, search and decide about the pictures of a store in the browser"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("stores", nargs="+", metavar="STORE", help="a store's directory, or NAME=DIRECTORY")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; any free one where omitted")
    parser.add_argument(
        "--decisions", type=Path, metavar="DIR", help="where decisions are kept; STORE-decisions where omitted"
    )
    parser.add_argument(
        "--media-root", type=Path, action="append", metavar="DIR", help="folder of pictures that are not saved"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted, and open it."""
    # Here, since it needs the extra, which other commands do not.
    from datumaro_clip.explorer.application import create_app
    from datumaro_clip.service import named_stores
    from datumaro_clip.service.running import run as serve

    given = {"port": args.port, "decisions": args.decisions, "media_root": args.media_root}
    settings = from_environment(**{name: value for name, value in given.items() if value is not None})

    def announce(address: str) -> None:
        print(f"{address}/explore  (Ctrl-C ends)", flush=True)
        if not args.no_browser:
            webbrowser.open(f"{address}/explore")

    return serve(create_app(named_stores(args.stores), settings=settings), settings, announce)
