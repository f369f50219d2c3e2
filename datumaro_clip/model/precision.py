"""Another precision of a model: the same vector space, in fewer bits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from datumaro_clip.errors import OptionError
from datumaro_clip.images import Preprocessing
from datumaro_clip.model.directory import (
    GOLDEN,
    IMAGE_ENCODER,
    PREPROCESSOR,
    TEXT_ENCODER,
    TOKENIZER,
    Manifest,
    describe_files,
    verify_files,
    write_manifest,
)
from datumaro_clip.model.making.build import golden_vectors
from datumaro_clip.model.making.graphs import RawEncoders, read_graph, save_graph
from datumaro_clip.model.making.quantize import Calibration, quantize_encoders
from datumaro_clip.system.files import atomic_directory
from datumaro_clip.system.versions import library_versions
from datumaro_clip.texts import Tokenizer

# Half precision can be quantised, but nothing gives back what rounding took.
_MADE_OF = {"f32": ("f16", "bf16", "int8"), "f16": ("bf16", "int8"), "bf16": ("f16", "int8")}
_LIBRARIES = ("datumaro-clip", "openvino", "nncf")

#: What to try when a precision costs too much.
NEXT_PRECISION = MappingProxyType({"int8": "bf16", "bf16": "f16", "f16": "f32"})


def convert_precision(reference: Path, out: Path, precision: str, calibration: Calibration | None = None) -> Manifest:
    """Make a model directory of another precision out of one of f32, or int8 out of one in half precision.

    Parameters
    ----------
    reference : Path
        A model directory that is not quantised.
    out : Path
        A new or empty directory.
    precision : str
        ``f16`` or ``bf16``: weights in half precision; ``int8``: weights and activations quantised.
    calibration : Calibration, optional
        Needed for int8.

    Raises
    ------
    OptionError
        If the precision cannot be made of the reference's, or int8 is asked for without calibration.
    ModelFormatError
        If the reference is damaged.
    FileExistsError
        If ``out`` holds something.
    """
    manifest = verify_files(reference)
    if precision not in _MADE_OF.get(manifest.precision, ()):
        raise OptionError(f"{reference} is {manifest.precision}, of which {precision} cannot be made; start from f32")
    with atomic_directory(out) as directory:
        for name in (TOKENIZER, PREPROCESSOR, GOLDEN):
            shutil.copyfile(reference / name, directory / name)
        if precision == "int8":
            _quantise(reference, directory, manifest, calibration)
        else:
            _halve(reference, directory)
        libraries = {**manifest.versions, **library_versions(_LIBRARIES)}
        manifest = replace(manifest, precision=precision, versions=libraries, files=describe_files(directory))
        write_manifest(directory, manifest)
    return manifest


def _halve(reference: Path, directory: Path) -> None:
    """Keep weights in half precision."""
    for name in (IMAGE_ENCODER, TEXT_ENCODER):
        save_graph(read_graph(reference / name), directory / name, half=True)


def _quantise(reference: Path, directory: Path, manifest: Manifest, calibration: Calibration | None) -> None:
    """Quantise both encoders.

    The golden vectors become those of the quantised graphs: what quantisation costs is the certificate's matter, and
    whether a device computes these graphs rightly is the self-check's.
    """
    if calibration is None:
        raise OptionError("int8 needs pictures and texts to calibrate on: --calibrate DATASET[:FORMAT]")
    encoders = RawEncoders(read_graph(reference / IMAGE_ENCODER), read_graph(reference / TEXT_ENCODER))
    preprocessing = Preprocessing.from_file(reference / PREPROCESSOR)
    tokenizer = Tokenizer.from_file(reference / TOKENIZER, manifest.text)
    quantised = quantize_encoders(encoders, preprocessing, tokenizer, calibration)
    save_graph(quantised.image, directory / IMAGE_ENCODER)
    save_graph(quantised.text, directory / TEXT_ENCODER)
    golden_vectors(quantised, preprocessing.size, tokenizer).save(directory)
