"""Convert a model to another precision, in the same vector space. The only module that imports nncf."""

from __future__ import annotations

import random
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import MissingDependencyError, OptionError
from datumaro_clip.images import ImageLike, Preprocessing
from datumaro_clip.model.directory import (
    GOLDEN,
    IMAGE_ENCODER,
    PREPROCESSOR,
    TEXT_ENCODER,
    TOKENIZER,
    ModelManifest,
    describe_files,
    verify_files,
    write_manifest,
)
from datumaro_clip.model.making.build import golden_vectors
from datumaro_clip.model.making.graphs import RawEncoders, save_graph
from datumaro_clip.model.openvino import read_graph
from datumaro_clip.system.files import atomic_directory
from datumaro_clip.system.machine import library_versions
from datumaro_clip.texts import Tokenizer

# What each precision can be converted to: half precision can be quantised, but not made f32 again.
_MADE_OF = {"f32": ("f16", "bf16", "int8"), "f16": ("bf16", "int8"), "bf16": ("f16", "int8")}
_LIBRARIES = ("datumaro-clip", "openvino", "nncf")
_SEED = 0

#: The precision to try if one is not accurate enough.
NEXT_PRECISION = MappingProxyType({"int8": "bf16", "bf16": "f16", "f16": "f32"})


@dataclass(frozen=True)
class Calibration:
    """Pictures and texts, as the model will see them, from which the ranges of activations are learnt."""

    pictures: Sequence[ImageLike]
    texts: Sequence[str]

    def __post_init__(self) -> None:
        if not self.pictures or not self.texts:
            raise OptionError(
                f"calibration needs pictures and texts, got {len(self.pictures)} and {len(self.texts)}; "
                "name a dataset with captions or labels"
            )


def convert_precision(
    reference: Path, out: Path, precision: str, calibration: Calibration | None = None
) -> ModelManifest:
    """Convert a model directory of f32 to another precision, or one of half precision to int8.

    The golden vectors of int8 are those of the quantised graphs, so that the self-check tests whether a device computes
    these graphs rightly; the certificate says how much quantisation changes the vectors.

    Parameters
    ----------
    reference : Path
        A model directory that is not quantised.
    out : Path
        A new or empty directory.
    precision : str
        ``f16`` or ``bf16``: weights in half precision; ``int8``: weights and activations quantised.
    calibration : Calibration, optional
        Needed for int8; equal calibrations give equal graphs, byte for byte.

    Raises
    ------
    OptionError
        If the reference cannot be converted to the precision, or there is no calibration for int8.
    ModelFormatError
        If the reference is damaged.
    FileExistsError
        If ``out`` holds something.
    MissingDependencyError
        For int8, without the extra ``export``.
    ImageError
        For the first picture of the calibration that cannot be decoded.
    """
    manifest = verify_files(reference)
    if precision not in _MADE_OF.get(manifest.precision, ()):
        raise OptionError(f"{reference} is {manifest.precision}, of which {precision} cannot be made; start from f32")
    if precision == "int8" and calibration is None:
        raise OptionError("int8 needs pictures and texts to calibrate on: --calibrate DATASET[:FORMAT]")
    with atomic_directory(out) as directory:
        for name in (TOKENIZER, PREPROCESSOR, GOLDEN):
            shutil.copyfile(reference / name, directory / name)
        graphs = RawEncoders(read_graph(reference / IMAGE_ENCODER), read_graph(reference / TEXT_ENCODER))
        if calibration is not None and precision == "int8":
            preprocessing = Preprocessing.from_file(reference / PREPROCESSOR)
            tokenizer = Tokenizer.from_file(reference / TOKENIZER, manifest.text)
            graphs = _quantize_encoders(graphs, preprocessing, tokenizer, calibration)
            golden_vectors(graphs, preprocessing.size, tokenizer).save(directory)
        save_graph(graphs.image, directory / IMAGE_ENCODER, half=precision != "int8")
        save_graph(graphs.text, directory / TEXT_ENCODER, half=precision != "int8")
        libraries = {**manifest.versions, **library_versions(_LIBRARIES)}
        manifest = replace(manifest, precision=precision, versions=libraries, files=describe_files(directory))
        write_manifest(directory, manifest)
    return manifest


def _quantize_encoders(
    encoders: RawEncoders, preprocessing: Preprocessing, tokenizer: Tokenizer, calibration: Calibration
) -> RawEncoders:
    """Quantise weights and activations of both encoders to int8."""
    pictures = [{"pixels": preprocessing.read(picture)[None]} for picture in calibration.pictures]
    names = {name for port in encoders.text.inputs for name in port.get_names()}
    batches = [tokenizer.encode([text]).batch([0]) for text in calibration.texts]
    texts = [{name: value for name, value in vars(batch).items() if name in names} for batch in batches]
    return RawEncoders(_quantize(encoders.image, pictures), _quantize(encoders.text, texts))


def _quantize(model: Any, samples: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Any:
    """Quantise one encoder."""
    try:
        import nncf
    except ImportError as exc:
        raise MissingDependencyError("nncf", "export", "quantising a model") from exc
    nncf.set_log_level(40)
    with _reproducible():
        return nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
        )


@contextmanager
def _reproducible() -> Iterator[None]:
    """Fix the seeds that nncf draws from in a block, and restore the caller's random state afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    random.seed(_SEED)
    np.random.seed(_SEED)
    try:
        # nncf shows its progress on standard output, which is for a command's results.
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
