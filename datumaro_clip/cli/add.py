"""``datum-clip add``: add a dataset's new and changed items to a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.curate.objects import CROP_OPTIONS, OBJECTS_OPTION, as_objects_need, wanted_objects
from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS, EmbeddingOptions
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.store import open_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a store")
    parser.add_argument("dataset", metavar="DATASET[:FORMAT]", help="dataset to add")
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument("--save-media", action="store_true", default=None, help="keep pictures in the store")
    saving.add_argument("--no-save-media", dest="save_media", action="store_false", help="default: as the store does")
    add_configured_options(parser, (*EMBEDDING_OPTIONS, OBJECTS_OPTION, *CROP_OPTIONS))


def run(args: argparse.Namespace) -> int:
    """Add the items, with vectors of objects if the store has some, and print how many were added, changed and left."""
    from datumaro_clip.host.sources import open_dataset
    from datumaro_clip.host.storing import add_to_store

    with open_store(args.store) as reader:
        has_objects = reader.object_count > 0
    values = as_objects_need({**vars(args), "objects": args.objects or has_objects})
    done = add_to_store(
        args.store,
        open_dataset(args.dataset),
        EmbeddingOptions.among(values),
        objects=wanted_objects(values),
        save_media=args.save_media,
    )
    say(f"{args.store}: {done.added} added, {done.changed} changed, {done.left} left as they were")
    return 0
