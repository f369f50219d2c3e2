"""``datum-clip merge``: merge several datasets into one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.errors import OptionError
from datumaro_clip.system.files import write_text

_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("datasets", nargs="+", metavar="PATH[:FORMAT]", help="datasets to merge, in order of precedence")
    add("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="a new or empty directory")
    add("-f", "--format", required=True, help="format to write")
    add("--mapping", metavar="FILE", help="mapping of labels, from 'datum-clip labels propose'")
    add("--near", action="store_true", help="also merge altered copies of a picture; takes longer")
    add("--subset-of", metavar="NAME", help="source whose subsets count (default: the first)")
    add("--save-media", action="store_true", help="copy the pictures too")
    add("--report", type=Path, metavar="FILE", help="write merges, renames and conflicts as JSON")


def run(args: argparse.Namespace) -> int:
    """Merge, write, and print what was done."""
    from datumaro_clip.curate.mapping import read_mapping
    from datumaro_clip.host.losses import write
    from datumaro_clip.host.merge import merge
    from datumaro_clip.host.sources import open_named
    from datumaro_clip.host.unfinished import filling

    with filling(args.output_dir, vars(args)):
        if args.output_dir.exists() and (not args.output_dir.is_dir() or any(args.output_dir.iterdir())):
            raise OptionError(f"{args.output_dir} is not empty; name a new directory")
        sources = open_named(args.datasets)
        if args.format not in sources[0].dataset.env.exporters:
            raise OptionError(f"no dataset can be written as {args.format}; see: datum convert --help")
        mapping = read_mapping(args.mapping) if args.mapping else None
        merged, report = merge(sources, mapping, near=args.near, subset_of=args.subset_of)
        lost = write(merged, args.output_dir, args.format, save_media=args.save_media)
    lost.tell()
    if args.report:
        write_text(args.report, json.dumps(vars(report), ensure_ascii=False, indent=1) + "\n")
    for title, lines in (("one item", report.joined), ("renamed", report.renamed), ("conflict", report.conflicts)):
        for line in lines[:_SHOWN]:
            say(f"{title}: {line}")
        if len(lines) > _SHOWN:
            say(f"{title}: ... and {len(lines) - _SHOWN} more, in --report")
    counts = report.counts
    say(f"{counts['items in the sources']} items of {len(sources)} datasets are {counts['items']} in {args.output_dir}")
    say(f"{counts['things in the sources']} boxes and other shapes are {counts['things']}{lost.in_short}")
    return 0
