"""``datum-clip embed``: embed a dataset into a new store."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from datumaro_clip.cli.inspect import describe
from datumaro_clip.cli.parsing import at_least
from datumaro_clip.cli.printing import say
from datumaro_clip.curate.objects import EMBEDDED_OPTIONS, as_objects_need, wanted_objects
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.store import DTYPES, kind_names, open_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("dataset", metavar="DATASET[:FORMAT]", help="dataset to embed")
    add("-o", "--output", type=Path, required=True, metavar="STORE", help="the store to write")
    add("-f", "--format", choices=kind_names(), default="clip_hdf5", help="default: %(default)s")
    add("--show", type=at_least(0), default=5, metavar="N", help="items to print (default: %(default)s)")
    add("--save-media", action="store_true", help="keep pictures in the store")
    add("--dtype", choices=list(DTYPES), default="float32", help="of the vectors (default: %(default)s)")
    add_configured_options(parser, EMBEDDED_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Embed and store; print ids, shapes and norms."""
    from datumaro_clip.host.sources import open_dataset
    from datumaro_clip.host.storing import embed_to_store

    values = as_objects_need(vars(args))
    embed_to_store(
        open_dataset(args.dataset),
        args.output,
        args.format,
        EmbeddingOptions.among(values),
        objects=wanted_objects(values),
        save_media=args.save_media,
        dtype=args.dtype,
    )
    with open_store(args.output) as reader:
        objects = f", {reader.object_count} of objects" if args.objects else ""
        say(f"{args.output}: {len(reader)} items, {reader.embedding_count} embeddings{objects}")
        for record in islice(reader.records(), args.show):
            say(describe(record))
    return 0
