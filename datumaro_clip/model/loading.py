"""Loading a model by its name."""

from __future__ import annotations

import os

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import GOLDEN, PREPROCESSOR, TOKENIZER, verify_files
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.golden import GoldenVectors
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.model.resolve import resolve
from datumaro_clip.model.selfcheck import CheckedEncoder
from datumaro_clip.model.verified import VerifiedEncoder


def load_model(
    model: str | os.PathLike[str] | Encoder | None = None,
    device: str = "CPU",
    precision: str = "auto",
    *,
    local_files_only: bool = False,
    self_check: bool = True,
    streams: int | None = None,
) -> Encoder:
    """Load a model; nothing is compiled before it is first asked for vectors.

    Parameters
    ----------
    model : path, str or Encoder, optional
        As :func:`resolve` takes it: a directory, ``tiny``, a Hugging Face id, or a vector space's fingerprint. An
        encoder is returned as it is.
    device : str
        OpenVINO's name: ``CPU``, ``GPU``, ``GPU.1``, ``NPU``, ``AUTO``, ``MULTI:GPU,CPU``.
    precision : str
        ``auto``, the quickest that is safe on the device; or ``f32``, ``bf16``, ``f16``, ``int8``.
    local_files_only : bool
        Never ask a hub.
    self_check : bool
        Compare golden inputs with their known vectors before the first batch on anything but the CPU in f32.
    streams : int, optional
        Batches computed at a time; OpenVINO's own choice for the device where omitted.

    Raises
    ------
    ModelNotFoundError
        If the model cannot be had; lists the ways out.
    ModelFormatError
        If its files are not what its manifest says; of its graphs, when each is first used.
    DeviceNotFoundError, OptionError
        If there is no such device here, or it cannot compute so.
    """
    if isinstance(model, Encoder):
        return model
    found = resolve(model, local_files_only=local_files_only)
    manifest = verify_files(found.path, (TOKENIZER, PREPROCESSOR, GOLDEN))
    computing = OpenVINOEncoder(found.path, manifest, device, precision, streams=streams)
    if computing.preprocessing.size != manifest.image_size:
        raise ModelFormatError(
            f"the processor of {found.path} makes pictures of {computing.preprocessing.size}, "
            f"but its manifest says {manifest.image_size}; export the model again"
        )
    encoder = VerifiedEncoder(computing, found.path)
    if not self_check or (device.upper() == "CPU" and encoder.provenance.precision == "f32"):
        return encoder
    return CheckedEncoder(encoder, GoldenVectors.load(found.path))
