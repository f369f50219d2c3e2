"""``datum-clip explore``: browse, search and curate a store or a dataset in the browser."""

from __future__ import annotations

import argparse
import webbrowser
from functools import partial
from pathlib import Path

from datumaro_clip.errors import OptionError
from datumaro_clip.service.settings import from_environment
from datumaro_clip.store.manifest import find_kind


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="STORE|DATASET[:FORMAT]",
        help="a store, or a dataset, which is embedded first; several can be compared",
    )
    add("--model", help="model of the vectors and queries (default: the model of the store)")
    add("--report", type=Path, metavar="DIR", help="a tool's report, to review its proposals")
    add(
        "--decisions",
        type=Path,
        metavar="DIR",
        help="where decisions are kept, for several sources one folder each (default: SOURCE-decisions)",
    )
    add("--media-root", type=Path, action="append", metavar="DIR", help="folder of pictures that are not in the store")
    add("--port", type=int, default=0, help="port to listen on (default: any free one)")
    add("--no-browser", action="store_true", help="print the address, and open no browser")


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted, and open it in the browser."""
    # Here, since it needs the extra, which other commands do not.
    from datumaro_clip.service import create_app
    from datumaro_clip.service.running import run as serve

    # The folder of each source that is no store.
    datasets: dict[str, Path] = {}
    for source in args.source:
        if not (Path(source).is_dir() and find_kind(Path(source))):
            from datumaro_clip.host.sources import split_spec  # Loads Datumaro, which a store does without.

            datasets[source] = Path(split_spec(source)[0]).resolve()
    decisions = args.decisions
    if decisions is None and datasets:
        if len(args.source) > 1:
            raise OptionError(
                "several sources with a dataset among them: say where decisions are kept, --decisions DIR"
            )
        [folder] = datasets.values()
        decisions = folder.parent / f"{folder.name}-decisions"
    roots = [*datasets.values(), *(args.media_root or ())]
    given = {"port": args.port, "model": args.model, "decisions": decisions, "media_root": roots}
    settings = from_environment(**{name: value for name, value in given.items() if value not in (None, [])})
    stores: dict[str, Path] = {}
    sources: dict[str, str] = {}
    for source in args.source:
        name = datasets.get(source, Path(source).resolve()).name
        if name in stores:
            raise OptionError(f"two sources are called {name}: rename one, or link to it by another name")
        if source in datasets:
            from datumaro_clip.host.exporting import store_dataset

            stores[name], sources[name] = store_dataset(source, args.model), source
        else:
            stores[name] = Path(source)
    from datumaro_clip.explorer.routes import routes  # After the service, whose import names a missing extra.

    page = partial(routes, sources=sources, report=args.report)
    app = create_app(stores, settings=settings, pages=[page])

    def announce(address: str) -> None:
        print(f"{address}/explore  (Ctrl-C ends)", flush=True)
        if not args.no_browser:
            webbrowser.open(f"{address}/explore")

    return serve(app, settings, announce)
