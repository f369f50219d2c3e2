"""``datum-clip search``: find the items of a store most similar to a text, a picture or another item."""

from __future__ import annotations

import argparse
import logging
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datumaro_clip.cli.parsing import at_least, cosine, share, some_text
from datumaro_clip.cli.printing import say, say_json, say_path
from datumaro_clip.curate.decisions import Decision, DecisionLog
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS
from datumaro_clip.errors import OptionError
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.host.formats import stored_items
from datumaro_clip.index import Filter, open_index
from datumaro_clip.report import write_report
from datumaro_clip.search import Hit, ObjectHit, SearchIndex, encode_query, item_vector, require_subsets, search_objects
from datumaro_clip.store import StoreReader, open_store
from datumaro_clip.vectors import ItemKey

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.usage = "%(prog)s [options] store (text | --image FILE | --item ID[@SUBSET])"
    parser.add_argument("store", type=Path, help="the store's directory")
    query = parser.add_mutually_exclusive_group(required=True)
    text = query.add_argument("text", nargs="?", type=some_text, help="what the picture shows, in quotes")
    text.nargs = None  # With "?", argparse takes it for left out where an option stands between it and the store.
    query.add_argument("--image", type=Path, metavar="FILE", help="find pictures like this one")
    query.add_argument("--item", metavar="ID[@SUBSET]", help="find pictures like this item of the store")
    parser.add_argument("-k", type=at_least(1), default=10, help="most hits (default: %(default)s)")
    parser.add_argument("--subset", action="append", metavar="NAME", help="search this subset only; may be repeated")
    parser.add_argument("--min-score", type=cosine, help="least cosine similarity of a hit, from -1 to 1")
    shown = parser.add_argument_group("what to do with the hits").add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object per line")
    shown.add_argument("--paths", action="store_true", help="print only the pictures' paths, one per line")
    shown.add_argument("--print0", action="store_true", help="print the paths with a NUL after each, for xargs -0")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html with the pictures there")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")
    objects = parser.add_argument_group("objects")
    objects.add_argument("--objects", action="store_true", help="search the objects in the pictures, one hit per item")
    objects.add_argument("--flat", action="store_true", help="one hit per object")
    objects.add_argument("--classes", action="append", metavar="NAME", help="this class only; may be repeated")
    objects.add_argument("--min-confidence", type=share, help="from 0 to 1; boxes drawn by people have 1")
    parser.add_argument("--model", help="model of the query (default: the model of the store)")
    add_configured_options(parser, [option for option in VECTOR_OPTIONS if option.name in ("device", "precision")])


def run(args: argparse.Namespace) -> int:
    """Search; print one line per hit: score, item, subset, path; for an object also its class, confidence and box."""
    of_objects = {"--flat": args.flat, "--classes": args.classes, "--min-confidence": args.min_confidence is not None}
    if not args.objects and (given := [name for name, value in of_objects.items() if value]):
        raise OptionError(f"{given[0]} is about objects: it goes with --objects")
    with open_store(args.store) as store:
        hits = _hits(store, args)
        items = {item.key: item for item in stored_items(args.store, [hit.key for hit in hits])}
        if args.report or args.open:
            _write_report(args, store, hits, items)
    if not hits:
        _log.warning("nothing was found; try another text, or fewer conditions")
    paths = {key: item.media for key, item in items.items() if item.media}
    if args.paths or args.print0:
        _say_paths(hits, paths, end="\0" if args.print0 else "\n")
        return 0
    for hit in hits:
        path = paths.get(hit.key)
        if args.json:
            say_json({**hit.to_mapping(), "path": path})
        else:
            say(f"{_line(hit)}  {path}" if path else _line(hit))
    return 0


def _say_paths(hits: Sequence[Hit], paths: Mapping[ItemKey, str], end: str) -> None:
    """Print each picture's path once; warn of hits that have none."""
    without = [hit.key for hit in hits if hit.key not in paths]
    if without:
        _log.warning("%d hits have no file, as %s: export the store with --save-media", len(without), without[0])
    for path in dict.fromkeys(paths[hit.key] for hit in hits if hit.key in paths):
        say_path(path, end)


def _line(hit: Hit) -> str:
    line = f"{hit.score:.4f}  {hit.key.id}  {hit.key.subset}"
    if not isinstance(hit, ObjectHit):
        return line
    found = hit.found
    sure = "" if found.confidence is None else f" {found.confidence:.2f}"
    return f"{line}  {found.class_name or '-'}{sure}  [{', '.join(f'{value:.0f}' for value in found.bbox)}]"


def _write_report(
    args: argparse.Namespace, store: StoreReader, hits: Sequence[Hit], items: Mapping[ItemKey, Item]
) -> None:
    """Write a page with the hits' pictures and the boxes of objects, and the hits as decisions."""
    asked = {"query": args.text, "image": args.image and str(args.image), "item": args.item}
    decisions = [_decision(hit) for hit in hits]
    space = store.header.space
    how = {"k": args.k, "objects": args.objects, "flat": args.flat, "model": space.model if space else None}
    options = {name: value for name, value in {**asked, **how}.items() if value is not None}
    made = DecisionLog("search", options, space.fingerprint if space else None, tuple(decisions))
    folder = args.report or Path(tempfile.mkdtemp(prefix="datum-clip-search-"))
    write_report(folder, made, list(items.values()))
    _log.info("Report: %s", folder / "report.html")
    if args.open:
        webbrowser.open((folder / "report.html").resolve().as_uri())


def _decision(hit: Hit) -> Decision:
    one = Decision(hit.key, "keep", "hit", score=round(hit.score, 6), rank=hit.rank)
    if not isinstance(hit, ObjectHit):
        return one
    told = [] if hit.picture_score is None else [f"whole picture {hit.picture_score:.3g}"]
    told += [] if hit.found.confidence is None else [f"confidence {hit.found.confidence:.2f}"]
    return replace(one, annotation=hit.found.annotation_index, text=hit.found.class_name, detail=" · ".join(told))


def _hits(store: StoreReader, args: argparse.Namespace) -> Sequence[Hit]:
    if args.objects:
        index, space = None, store.header.space
        if space is None or not store.object_count:
            raise OptionError(f"{store.path} holds no vectors of objects; embed the dataset with clip_embed --objects")
    else:
        index = SearchIndex.from_store(store)
        space = index.space
    subsets = args.subset or ()
    require_subsets(store, subsets)
    own = None if args.item is None else _find_item(store, args.item)
    if own is None:
        picture_or_text = args.text if args.image is None else args.image
        query = encode_query(picture_or_text, space, args.model, device=args.device, precision=args.precision)
    else:
        query = item_vector(store, own)
    if index is None:
        wanted = Filter(tuple(subsets), tuple(args.classes or ()), args.min_confidence)
        return search_objects(
            open_index(args.store).snapshot,
            query,
            args.k,
            wanted=wanted,
            by_item=not args.flat,
            without=own,
            min_score=args.min_score,
        )
    where = (lambda key: key.subset in subsets) if subsets else None
    [found] = index.search(query, args.k + (own is not None), where=where, min_score=args.min_score)
    others = [hit for hit in found if hit.key != own][: args.k]
    return [replace(hit, rank=rank) for rank, hit in enumerate(others)]


def _find_item(store: StoreReader, text: str) -> ItemKey:
    """Find the item that ``ID`` or ``ID@SUBSET`` names; an id may have an @ in it."""
    before, at, after = text.rpartition("@")
    keys = [ItemKey(before, after)] if at else []
    keys += [ItemKey(text, subset) for subset in store.subsets]
    found = [key for key in keys if store.find(key) is not None]
    if len(found) != 1:
        subsets = ", ".join(f"--item '{key}'" for key in found) or "check its id and subset"
        raise OptionError(f"{len(found)} items of {store.path} are called '{text}': {subsets}")
    return found[0]
