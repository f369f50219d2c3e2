"""``datum-clip add``: what a store lacks of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS, EmbeddingOptions
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.store import store_digest

NAME = "add"
HELP = "add to a store what it lacks of a dataset, and replace what has changed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a store")
    parser.add_argument("dataset", metavar="DATASET[:FORMAT]", help="what to add")
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument("--save-media", action="store_true", default=None, help="keep pictures in the store")
    saving.add_argument("--no-save-media", dest="save_media", action="store_false", help="default: as the store does")
    add_configured_options(parser, EMBEDDING_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Add, and say what was added, changed and left."""
    from datumaro_clip.host.adding import add_to_store
    from datumaro_clip.host.sources import open_dataset

    store_digest(args.store)  # Before the dataset is read: there must be a store.
    options = EmbeddingOptions.among(vars(args))
    done = add_to_store(args.store, open_dataset(args.dataset), options, save_media=args.save_media)
    say(f"{args.store}: {done.added} added, {done.changed} changed, {done.left} left as they were")
    return 0
