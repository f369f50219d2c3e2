"""``datum-clip explore``: see a dataset in the browser, search it, and decide."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from datumaro_clip.service.settings import from_environment
from datumaro_clip.store.manifest import find_kind

NAME = "explore"
HELP = "see, search and decide about the pictures of a store or a dataset in the browser"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="STORE|DATASET[:FORMAT]", help="a dataset is embedded first, into the cache")
    parser.add_argument("--model", help="model of a dataset's vectors, or of queries; the store's own where omitted")
    parser.add_argument("--report", type=Path, metavar="DIR", help="a tool's report whose proposals are to be reviewed")
    parser.add_argument(
        "--decisions", type=Path, metavar="DIR", help="where decisions are kept (default: SOURCE-decisions)"
    )
    parser.add_argument("--media-root", type=Path, action="append", metavar="DIR", help="folder of pictures not saved")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; any free one where omitted")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted, and open it."""
    # Here, since it needs the extra, which other commands do not.
    from datumaro_clip.explorer.application import create_app
    from datumaro_clip.service.running import run as serve

    store, source, told = _store(args)
    given = {"port": args.port, "model": args.model, "decisions": args.decisions, "media_root": args.media_root, **told}
    settings = from_environment(**{name: value for name, value in given.items() if value is not None})
    name = Path(args.source).resolve().name
    app = create_app({name: store}, settings=settings, sources={name: source} if source else {}, report=args.report)

    def announce(address: str) -> None:
        print(f"{address}/explore  (Ctrl-C ends)", flush=True)
        if not args.no_browser:
            webbrowser.open(f"{address}/explore")

    return serve(app, settings, announce)


def _store(args: argparse.Namespace) -> tuple[Path, str, dict[str, Any]]:
    """The store to look at, the dataset that it was made of, and the settings that follow from that."""
    place = Path(args.source)
    if place.is_dir() and find_kind(place) is not None:
        return place, "", {}
    from datumaro_clip.host.exporting import store_dataset
    from datumaro_clip.host.sources import split_spec

    folder = Path(split_spec(args.source)[0])
    decisions = folder.resolve().parent / f"{folder.resolve().name}-decisions"
    told = {
        "media_root": [folder, *(args.media_root or ())],
        "decisions": args.decisions or decisions,
    }
    return store_dataset(args.source, args.model), args.source, told
