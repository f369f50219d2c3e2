"""Another precision of a model: the same vector space, in fewer bits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from datumaro_clip.errors import OptionError
from datumaro_clip.files import atomic_directory
from datumaro_clip.images import Preprocessing
from datumaro_clip.models.build import library_versions
from datumaro_clip.models.graphs import RawEncoders, read_graph, save_graph
from datumaro_clip.models.manifest import (
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
from datumaro_clip.models.quantize import Calibration, quantize_encoders
from datumaro_clip.texts import Tokenizer

#: What to try when a precision costs too much.
NEXT_PRECISION = MappingProxyType({"int8": "bf16", "bf16": "f16", "f16": "f32"})


def convert_precision(reference: Path, out: Path, precision: str, calibration: Calibration | None = None) -> Manifest:
    """Make a model directory of another precision out of one of f32.

    Parameters
    ----------
    reference : Path
        A model directory of precision f32.
    out : Path
        A new or empty directory.
    precision : str
        ``f16`` or ``bf16``: weights in half precision; ``int8``: weights and activations quantised.
    calibration : Calibration, optional
        Needed for int8.

    Raises
    ------
    OptionError
        If the reference is not f32, or int8 is asked for without calibration.
    ModelFormatError
        If the reference is damaged.
    FileExistsError
        If ``out`` holds something.
    """
    manifest = verify_files(reference)
    if manifest.precision != "f32":
        raise OptionError(f"{reference} is {manifest.precision}; another precision is made of an f32 model")
    with atomic_directory(out) as directory:
        for name in (TOKENIZER, PREPROCESSOR, GOLDEN):
            shutil.copyfile(reference / name, directory / name)
        encoders = _converted(reference, manifest, precision, calibration)
        save_graph(encoders.image, directory / IMAGE_ENCODER, half=precision in ("f16", "bf16"))
        save_graph(encoders.text, directory / TEXT_ENCODER, half=precision in ("f16", "bf16"))
        libraries = {**manifest.versions, **library_versions(("datumaro-clip", "openvino"))}
        if precision == "int8":
            libraries |= library_versions(("nncf",))
        manifest = replace(manifest, precision=precision, versions=libraries, files=describe_files(directory))
        write_manifest(directory, manifest)
    return manifest


def _converted(reference: Path, manifest: Manifest, precision: str, calibration: Calibration | None) -> RawEncoders:
    """The encoders in that precision; saving is what halves them."""
    encoders = RawEncoders(read_graph(reference / IMAGE_ENCODER), read_graph(reference / TEXT_ENCODER))
    if precision != "int8":
        return encoders
    if calibration is None:
        raise OptionError("int8 needs pictures and texts to calibrate on: --calibrate DATASET[:FORMAT]")
    preprocessing = Preprocessing.from_file(reference / PREPROCESSOR)
    tokenizer = Tokenizer.from_file(reference / TOKENIZER, manifest.text)
    return quantize_encoders(encoders, preprocessing, tokenizer, calibration)
