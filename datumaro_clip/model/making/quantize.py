"""Post-training quantisation to int8: the only importer of nncf."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import MissingDependencyError, OptionError
from datumaro_clip.images import ImageLike, Preprocessing
from datumaro_clip.model.making.graphs import RawEncoders
from datumaro_clip.texts import Tokenizer

_SEED = 0


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


def quantize_encoders(
    encoders: RawEncoders, preprocessing: Preprocessing, tokenizer: Tokenizer, calibration: Calibration
) -> RawEncoders:
    """Quantise weights and activations of both encoders to int8.

    Parameters
    ----------
    encoders : RawEncoders
        As a model directory keeps them, in f32; they are not changed.
    preprocessing, tokenizer
        The model's own.
    calibration : Calibration
        The same gives the same graphs, byte for byte.

    Raises
    ------
    MissingDependencyError
        Without the extra ``export``.
    ImageError
        For the first picture that cannot be decoded.
    """
    pictures = [{"pixels": preprocessing.read(picture)[None]} for picture in calibration.pictures]
    names = {name for port in encoders.text.inputs for name in port.get_names()}
    texts = [_text_inputs(tokenizer, text, names) for text in calibration.texts]
    return RawEncoders(_quantize(encoders.image, pictures), _quantize(encoders.text, texts))


def _text_inputs(tokenizer: Tokenizer, text: str, names: set[str]) -> dict[str, npt.NDArray[np.int64]]:
    """One text as the text encoder takes it."""
    batch = tokenizer.encode([text]).batch([0])
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    return {name: value for name, value in inputs.items() if name in names}


def _quantize(model: Any, samples: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Any:
    """One encoder."""
    nncf = _nncf()
    with _reproducible():
        return nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
        )


def _nncf() -> Any:
    """The library, told to be quiet."""
    try:
        import nncf
    except ImportError as exc:
        raise MissingDependencyError("nncf", "export", "quantising a model") from exc
    nncf.set_log_level(40)
    return nncf


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
