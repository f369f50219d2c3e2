"""``datum-clip model``: export, list, inspect, verify and certify models."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datumaro_clip.cli.parsing import add_json, at_least
from datumaro_clip.cli.printing import say, say_json, say_lines
from datumaro_clip.errors import OptionError
from datumaro_clip.model.directory import WEIGHTS, ModelManifest, read_manifest, verify_files
from datumaro_clip.model.loading import encoders_of_others
from datumaro_clip.model.making.certificate import DEFAULT_REQUIREMENT, Certificate, Requirement, check_requirement
from datumaro_clip.model.making.certified import NO_REQUIREMENT, Trial, certify_directory, export_model
from datumaro_clip.model.resolve import at_hand, models_at_hand, resolve

DEFAULT_SAMPLES = 300


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _configure_export(actions.add_parser("export", help="convert a model to a model directory"))
    listing = actions.add_parser("list", help="list the models on this machine")
    add_json(listing)
    listing.set_defaults(action=_list)
    info = actions.add_parser("info", help="describe a model, with its certificate")
    info.add_argument("model", help="a model directory, or a name that `model list` shows")
    add_json(info)
    info.set_defaults(action=_info)
    verify = actions.add_parser("verify", help="compare each file with its checksum")
    verify.add_argument("model", help="a model directory, or a name that `model list` shows")
    verify.set_defaults(action=_verify)
    _configure_certify(actions.add_parser("certify", help="measure on your data what a precision costs"))


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    status: int = args.action(args)
    return status


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="directory, bundled name or Hugging Face id")
    add("-o", "--output-dir", type=Path, required=True, help="a new or empty directory")
    add("--precision", choices=WEIGHTS, help="of the weights (default: the model's own, f32 for a checkpoint)")
    add("--calibrate", metavar="DATASET[:FORMAT]", help="dataset to calibrate int8 with, and to judge the result on")
    add(
        "--require",
        metavar=DEFAULT_REQUIREMENT,
        help="write nothing unless the certificate reaches this (default: what is shown here)",
    )
    add("--accept-loss", action="store_true", help="write the model although it misses --require")
    add("--local-files-only", action="store_true", help="download no model")
    _add_shared(parser)
    parser.set_defaults(action=_export)


def _configure_certify(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", type=Path, metavar="DIR", help="model directory to judge")
    add("--reference", required=True, metavar="REF", help="the same model in f32: a directory or a name, as --model")
    add("--data", required=True, metavar="DATASET[:FORMAT]", help="dataset with pictures, captions and labels")
    add("--precision", default="auto", choices=("auto", *WEIGHTS), help="default: %(default)s")
    add(
        "--require",
        default="",
        metavar=DEFAULT_REQUIREMENT,
        help="end with status 1 unless the certificate reaches this",
    )
    _add_shared(parser)
    parser.set_defaults(action=_certify)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Declare the options of both export and certify."""
    add = parser.add_argument
    add(
        "--samples",
        type=at_least(1),
        default=DEFAULT_SAMPLES,
        metavar="N",
        help="how many pictures (default: %(default)s)",
    )
    add("--device", default="CPU", help="the device that will run the model (default: %(default)s)")


def _export(args: argparse.Namespace) -> int:
    required = Requirement.parse(DEFAULT_REQUIREMENT if args.require is None else args.require)
    if args.require and not args.calibrate:
        raise OptionError("--require needs pictures to judge on: --calibrate DATASET[:FORMAT]")
    if args.accept_loss:
        required = NO_REQUIREMENT
    model = resolve(args.model, local_files_only=args.local_files_only)
    trial = None
    if args.calibrate:
        from datumaro_clip.host.evaluation import image_text_samples

        # As many again to judge on, which calibration does not see.
        samples = image_text_samples(args.calibrate, 2 * args.samples)
        trial = Trial.split(Path(args.calibrate).name, samples, args.samples)
    certificate = export_model(model, args.output_dir, args.precision, trial, requirement=required, device=args.device)
    _show(read_manifest(args.output_dir), args.output_dir, certificate)
    return 0


def _certify(args: argparse.Namespace) -> int:
    from datumaro_clip.host.evaluation import image_text_samples

    required = Requirement.parse(args.require)
    samples = image_text_samples(args.data, args.samples)
    trial = Trial(Path(args.data).name, [], samples, held_out=None)
    reference = resolve(args.reference).path
    certificate = certify_directory(args.directory, reference, trial, device=args.device, precision=args.precision)
    say_lines(certificate.table())
    check_requirement(certificate, required, "use another precision, or lower --require")
    return 0


def _list(args: argparse.Namespace) -> int:
    models = models_at_hand()
    if args.json:
        for model in models:
            say_json({"path": str(model.path), **_manifest(model.manifest)})
        for name in encoders_of_others():
            say_json({"path": None, "name": name})
        return 0
    for model in models:
        manifest = model.manifest
        say(f"{manifest.name:<36} {manifest.precision:<5} {manifest.dimension:>5}  {model.path}")
    for name in encoders_of_others():
        say(f"{name:<36} an encoder of another package")
    if not models:
        say("none; datum-clip model export NAME -o DIR makes one")
    return 0


def _info(args: argparse.Namespace) -> int:
    directory = at_hand(args.model)
    manifest, certificate = read_manifest(directory), Certificate.load(directory)
    if args.json:
        told = None if certificate is None else json.loads(certificate.to_json())
        say_json({"path": str(directory), **_manifest(manifest), "certificate": told})
    else:
        _show(manifest, directory, certificate)
    return 0


def _verify(args: argparse.Namespace) -> int:
    directory = at_hand(args.model)
    manifest = verify_files(directory)
    say(f"{directory}: {len(manifest.files)} files are what the manifest says")
    return 0


def _manifest(manifest: ModelManifest) -> dict[str, Any]:
    """Return a manifest as JSON values, with the number and size in bytes of its files instead of a list."""
    told = asdict(manifest)
    del told["is_sealed"]
    return told | {"files": len(manifest.files), "bytes": sum(entry.size for entry in manifest.files.values())}


def _show(manifest: ModelManifest, directory: Path, certificate: Certificate | None) -> None:
    """Print the description of a model."""
    source = manifest.source
    height, width = manifest.image_size
    entries = {
        "model": manifest.name,
        "directory": directory,
        "family": manifest.family,
        "space": manifest.space,
        "precision": manifest.precision,
        "dimension": manifest.dimension,
        "pictures": f"{width}×{height}",
        "texts": f"at most {manifest.text.context_length} tokens",
        "source": " ".join(str(source[key]) for key in ("kind", "id", "revision", "note") if source.get(key)),
        "size": f"{sum(entry.size for entry in manifest.files.values()) / 1e6:.1f} MB",
    }
    for key, value in entries.items():
        say(f"{key:<10} {value}")
    say()
    say_lines(certificate.table() if certificate else "no certificate; see: datum-clip model certify --help")
