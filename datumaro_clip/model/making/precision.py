"""Another precision of a model, the same vector space in fewer bits: the only importer of nncf."""

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

# Half precision can be quantised, but nothing gives back what rounding took.
_MADE_OF = {"f32": ("f16", "bf16", "int8"), "f16": ("bf16", "int8"), "bf16": ("f16", "int8")}
_LIBRARIES = ("datumaro-clip", "openvino", "nncf")
_SEED = 0

#: What to try when a precision costs too much.
NEXT_PRECISION = MappingProxyType({"int8": "bf16", "bf16": "f16", "f16": "f32"})


@dataclass(frozen=True)
class Calibration:
    """What the ranges of activations are learnt from: pictures and texts as the model will see them."""

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
    """Make a model directory of another precision out of one of f32, or int8 out of one in half precision.

    The golden vectors of int8 are those of the quantised graphs: what quantisation costs is the certificate's matter,
    and whether a device computes these graphs rightly is the self-check's.

    Parameters
    ----------
    reference : Path
        A model directory that is not quantised.
    out : Path
        A new or empty directory.
    precision : str
        ``f16`` or ``bf16``: weights in half precision; ``int8``: weights and activations quantised.
    calibration : Calibration, optional
        Needed for int8; the same gives the same graphs, byte for byte.

    Raises
    ------
    OptionError
        If the precision cannot be made of the reference's, or int8 is asked for without calibration.
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
    """One encoder."""
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
    """Fixed seeds for whatever nncf draws, and the caller's own state back afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    random.seed(_SEED)
    np.random.seed(_SEED)
    try:
        # nncf shows its progress on the standard output, which belongs to what a command prints.
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
