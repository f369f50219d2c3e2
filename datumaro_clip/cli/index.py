"""``datum-clip index``: create, fill, verify or describe the search index of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.parsing import at_least
from datumaro_clip.cli.printing import say
from datumaro_clip.index import VectorIndex, open_index
from datumaro_clip.index.remote import RemoteEngine
from datumaro_clip.store import open_store

_ENGINE = (
    "exact (the default), usearch, postgresql://USER@HOST:PORT/DATABASE[#SCHEMA], or OpenSearch's "
    "http(s)://[USER@]HOST:PORT/INDEX; the password is taken from DATUMARO_CLIP_ENGINE_PASSWORD, or from the file that "
    "DATUMARO_CLIP_ENGINE_PASSWORD_FILE names"
)
# Differences that are printed.
_FIRST = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, (action, help_text) in _ACTIONS.items():
        subparser = actions.add_parser(name, help=help_text, description=help_text)
        subparser.set_defaults(action=action, overwrite=False)
        add = subparser.add_argument
        add("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")
        add("--engine", default="exact", help=_ENGINE)
        add("--cache", type=Path, metavar="DIR", help="where the index is (default: in the cache directory)")
        add("--time-limit", type=float, metavar="S", help="most seconds that a server may take (default: 30)")
        if name in ("create", "push"):
            add(
                "--ef-construction",
                type=at_least(8),
                metavar="N",
                help="candidates considered when the graph is built: more find more and take longer (default: 128; "
                "OpenSearch: 512)",
            )
    add = actions.choices["create"].add_argument
    add("--overwrite", action="store_true", help="empty an index that is there")
    add("--shards", type=at_least(1), metavar="N", help="shards of an OpenSearch index (default: 2)")
    add("--replicas", type=at_least(0), metavar="N", help="of OpenSearch (default: 1; 0 on a single node)")


def run(args: argparse.Namespace) -> int:
    """Run the action; ``verify`` returns 1 if it finds differences."""
    options = {
        "expansion_add": getattr(args, "ef_construction", None),
        "shards": getattr(args, "shards", None),
        "replicas": getattr(args, "replicas", None),
        "time_limit": args.time_limit,
    }
    index = open_index(args.store, args.engine, cache=args.cache, **options)
    status: int = args.action(index, args)
    return status


def _create(index: VectorIndex, args: argparse.Namespace) -> int:
    engine = index.engine
    if not isinstance(engine, RemoteEngine):
        return _push(index, args)
    with open_store(index.path) as store:
        is_new = engine.create(store, overwrite=args.overwrite)
    say(f"{engine.name} is an empty index" if is_new else f"{engine.name} is there already, for the same vector space")
    return 0


def _push(index: VectorIndex, args: argparse.Namespace) -> int:
    done = index.sync()
    say(f"{index.path}: {done.built} files of the index built, {done.reused} reused, {done.removed} removed")
    if isinstance(index.engine, RemoteEngine):
        say(f"{index.engine.name} holds state {done.digest[:12]}")
    return 0


def _verify(index: VectorIndex, args: argparse.Namespace) -> int:
    found = index.verify()
    for name, recall in found.recalls.items():
        say(f"{name}: recall {recall:.4f}")
    for difference in found.differences[:_FIRST]:
        say(difference)
    if found.differences:
        say(f"{index.path} and its index differ: {len(found.differences)} differences")
        return 1
    say(f"{index.path} and its index agree")
    return 0


def _info(index: VectorIndex, args: argparse.Namespace) -> int:
    with open_store(index.path) as store:
        say(f"{'store':<10} {store.path}, state {store.digest[:12]}")
        counts = {"items": len(store), "pictures": store.embedding_count, "objects": store.object_count}
        for name, count in {**counts, "captions": store.caption_count}.items():
            say(f"{name:<10} {count}")
    say(f"{'engine':<10} {index.engine.name}")
    if isinstance(index.engine, RemoteEngine):
        state = index.engine.remote.state()
        held = "no index" if state is None else f"state {state.digest[:12] or 'of a push that did not end'}"
        say(f"{'holds':<10} {held}")
    return 0


_ACTIONS = {
    "create": (_create, "create the index: on a server an empty one, otherwise of all that the store holds"),
    "push": (_push, "index what the store holds and the index lacks; continues where it was stopped"),
    "verify": (_verify, "compare the index with the store; status 1 and the first differences if they differ"),
    "info": (_info, "print what the store and the index hold"),
}
