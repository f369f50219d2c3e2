"""``datum-clip verify``: read every block and every item of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.parsing import add_json
from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.store import open_store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("store", type=Path, help="directory of a clip_hdf5 or clip_mmap store")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything; the first damage is raised as an error."""
    from datumaro_clip.host.codec.verify import verify_items

    with open_store(args.store) as reader:
        reader.check()
        media = verify_items(reader)
        blocks = sum(len(column.spec.crc32) for segment in reader.segments for column in segment.columns.values())
        counts = {
            "items": len(reader),
            "embeddings": reader.embedding_count,
            "captions": reader.caption_count,
            "objects": reader.object_count,
            "blocks": blocks,
        }
    if args.json:
        say_json({"path": str(args.store), "is_sound": True, **counts, "media": media})
    else:
        say(f"{args.store} is sound: {', '.join(f'{count} {name}' for name, count in counts.items())}")
        say(f"media: {', '.join(f'{count} {place}' for place, count in sorted(media.items())) or 'none'}")
    return 0
