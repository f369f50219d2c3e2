"""``datum-clip inspect``: print what a store holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.cli.parsing import add_json, at_least
from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.store import VECTOR_GROUPS, Record, StoreReader, open_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")
    parser.add_argument("-n", "--first", type=at_least(0), default=5, help="items to show (default: %(default)s)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the facts, then the first items."""
    with open_store(args.store) as reader:
        first = islice(reader.records(), args.first)
        if args.json:
            say_json(_report(reader) | {"first": [_described(record) for record in first]})
            return 0
        for name, value in _facts(reader):
            say(f"{name:<12} {value}")
        say()
        for record in first:
            say(describe(record))
    return 0


def _report(reader: StoreReader) -> dict[str, Any]:
    """Return the facts as JSON values; null where the store has no vectors."""
    header, space = reader.header, reader.header.space
    return {
        "path": str(reader.path),
        "kind": reader.kind.name,
        "segments": len(reader.segments),
        "compression": header.compression,
        "items": len(reader),
        "subsets": dict(reader.subsets),
        "embeddings": reader.embedding_count,
        "captions": reader.caption_count,
        "objects": reader.object_count,
        "dimension": space and space.dimension,
        "dtype": header.dtype,
        "space": space and space.fingerprint,
        "model": space and space.model,
        "precisions": _of_segments(reader, "precision"),
        "devices": _of_segments(reader, "device"),
        "media_type": header.media_type,
        "versions": dict(header.versions),
    }


def _facts(reader: StoreReader) -> Iterator[tuple[str, object]]:
    """Return the facts as people read them."""
    told, header = _report(reader), reader.header
    yield "store", f"{told['kind']}, {told['segments']} segments, compression {told['compression']}"
    yield "items", told["items"]
    yield "subsets", ", ".join(f"{name} {count}" for name, count in reader.subsets.items()) or "none"
    for name in ("embeddings", "captions", "objects", "dimension", "dtype", "space", "model"):
        yield name, "none" if told[name] is None else told[name]
    yield "precision", ", ".join(told["precisions"]) or header.precision
    yield "device", ", ".join(told["devices"]) or header.device
    yield "media", header.media_type
    yield "versions", ", ".join(f"{name} {version}" for name, version in header.versions.items())


def _of_segments(reader: StoreReader, attribute: str) -> list[str]:
    """Return an attribute of the segments that have vectors, each value once."""
    vectors = [segment for segment in reader.segments if any(map(segment.live_count, VECTOR_GROUPS))]
    return list(dict.fromkeys(getattr(segment.entry, attribute) for segment in vectors))


def describe(record: Record) -> str:
    """Return a line with an item's key, its vector's norm and shape, and the number of its captions and objects."""
    told = _described(record)
    vector = "no vector" if told["norm"] is None else f"norm {told['norm']:.4f}, shape {tuple(told['shape'])}"
    return f"{record.key}  {vector}, {told['captions']} captions, {told['objects']} objects"


def _described(record: Record) -> dict[str, Any]:
    """Return an item as JSON values; the norm and the shape are null where it has no vector."""
    vector = record.embedding
    return {
        "id": record.key.id,
        "subset": record.key.subset,
        "norm": None if vector is None else round(float(np.linalg.norm(vector)), 6),
        "shape": None if vector is None else list(vector.shape),
        "captions": len(record.captions),
        "objects": len(record.objects),
    }
