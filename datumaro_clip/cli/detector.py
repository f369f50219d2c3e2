"""``datum-clip detector``: add, list and inspect detectors of objects."""

from __future__ import annotations

import argparse
from pathlib import Path

from datumaro_clip.cli.printing import say
from datumaro_clip.objects.adding import add_detector
from datumaro_clip.objects.directory import DetectorManifest, detectors_at_hand, find_detector, verify_files
from datumaro_clip.objects.heads import HEADS
from datumaro_clip.objects.placement import COLOURS, PLACEMENTS


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _configure_add(actions.add_parser("add", help="add a network under a name, with its labels"))
    listing = actions.add_parser("list", help="list the detectors that were added")
    listing.set_defaults(action=_list)
    info = actions.add_parser("info", help="describe a detector, and compare its files with their checksums")
    info.add_argument("detector", help="a detector's directory, or a name that `detector list` shows")
    info.set_defaults(action=_info)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    status: int = args.action(args)
    return status


def _configure_add(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("network", type=Path, metavar="FILE", help=".onnx, or .xml with its .bin beside it")
    add("--labels", type=Path, required=True, metavar="FILE", help="names of its classes: one per line, or a JSON list")
    add("--kind", choices=HEADS, help="kind of network (default: found from its shapes)")
    add("--name", help="name of the detector (default: the file's name)")
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="size of the input, where the network has none")
    add("--placement", choices=PLACEMENTS, help="place of the picture in the input (default: the kind's)")
    add("--colour", choices=COLOURS, help="order of the channels (default: the kind's)")
    add("--scale", type=float, help="factor for pixel values 0 to 255 (default: the kind's)")
    add("--mean", type=float, nargs=3, metavar="M", help="subtract this from each channel after scaling (default: 0)")
    add("--std", type=float, nargs=3, metavar="S", help="divide each channel by this last (default: 1)")
    add("-o", "--output-dir", type=Path, metavar="DIR", help="where to write it (default: where `detector list` looks)")
    add("--overwrite", action="store_true", help="replace a detector of that name")
    parser.set_defaults(action=_add)


def _add(args: argparse.Namespace) -> int:
    told = {name: getattr(args, name) for name in ("placement", "colour", "scale", "mean", "std")}
    changes = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if value is not None
    }
    directory, manifest = add_detector(
        args.network,
        args.labels,
        kind=args.kind,
        name=args.name,
        size=tuple(args.size) if args.size else None,
        changes=changes,
        directory=args.output_dir,
        overwrite=args.overwrite,
    )
    _show(directory, manifest)
    return 0


def _list(args: argparse.Namespace) -> int:
    found = list(detectors_at_hand())
    for directory, manifest in found:
        say(f"{manifest.name:<24} {manifest.kind:<14} {len(manifest.labels):>4} labels  {directory}")
    if not found:
        say("none; datum-clip detector add FILE --labels NAMES makes one known")
    return 0


def _info(args: argparse.Namespace) -> int:
    directory = find_detector(args.detector)
    _show(directory, verify_files(directory))
    return 0


def _show(directory: Path, manifest: DetectorManifest) -> None:
    """Print the description of a detector."""
    settings = manifest.input
    height, width = settings.size
    shown = ", ".join(manifest.labels[:8]) + (", …" if len(manifest.labels) > 8 else "")
    entries = {
        "detector": manifest.name,
        "directory": directory,
        "kind": manifest.kind,
        "fingerprint": manifest.fingerprint,
        "input": f"{width}×{height}, {settings.colour}, {settings.placement}, scale {settings.scale:.6g}",
        "labels": f"{len(manifest.labels)}: {shown}",
        "size": f"{sum(entry.size for entry in manifest.files.values()):,} bytes",
    }
    for key, value in entries.items():
        say(f"{key:<11} {value}")
