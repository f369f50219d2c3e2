"""Load an encoder: by a model's name, by its vector space, or from another package."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datumaro_clip.errors import DatumaroClipError, ModelFormatError, PluginError
from datumaro_clip.model.directory import GOLDEN, PREPROCESSOR, TOKENIZER, verify_files
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.golden import CheckedEncoder, GoldenVectors
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.model.resolve import default_model, find_by_space, resolve
from datumaro_clip.system.entry_points import load, offered
from datumaro_clip.vectors import VectorSpace

#: Group of entry points for :data:`EncoderLoader`; a model called ``NAME`` or ``NAME:…`` is loaded by one of them.
GROUP = "datumaro_clip.encoders"
# Loads the models whose names do not begin with the name of an entry point.
_USUAL = "openvino"


@dataclass(frozen=True)
class LoadOptions:
    """How an encoder is to compute; an encoder ignores options that do not apply to it.

    Attributes
    ----------
    device : str
        OpenVINO's name of a device.
    precision : str
        ``auto``, ``f32``, ``bf16``, ``f16`` or ``int8``.
    local_files_only : bool
        Never ask a hub.
    self_check : bool
        Compare golden inputs with their known vectors first, on devices and precisions that might compute wrongly.
    streams : int or None
        Batches computed at a time; None for the encoder's own choice.
    """

    device: str = "CPU"
    precision: str = "auto"
    local_files_only: bool = False
    self_check: bool = True
    streams: int | None = None


EncoderLoader = Callable[[str, LoadOptions], Encoder]


def load_model(
    model: str | os.PathLike[str] | VectorSpace | Encoder | None = None,
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
    model : path, str, VectorSpace or Encoder, optional
        A directory, ``tiny``, a Hugging Face id, or a vector space's fingerprint, as :func:`resolve` takes them;
        ``NAME`` or ``NAME:…`` for the encoder that an installed package offers; a vector space, for the model at hand
        (bundled, or exported before) that has it. An encoder is returned as it is.
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
        If there is no such model, or it cannot be downloaded; says what to do.
    ModelFormatError
        If its files are not what its manifest says; of its graphs, when each is first used.
    DeviceNotFoundError, OptionError
        If there is no such device here, or it cannot compute so.
    PluginError
        If the encoder of another package cannot be used.
    """
    if isinstance(model, Encoder):
        return model
    if isinstance(model, VectorSpace):
        # By the fingerprint alone: the model's name in a file must not make us look on the disk or on a hub.
        model = find_by_space(model.fingerprint).path
    name = os.fspath(model) if model is not None else default_model()
    loaders = offered(GROUP)
    kind, _, rest = name.partition(":")
    if kind not in loaders or Path(name).is_dir():
        kind, rest = _USUAL, name
    if kind not in loaders:
        raise PluginError("datumaro-clip is not installed as a package: pip install datumaro-clip")
    loader: EncoderLoader = load(loaders[kind])
    try:
        encoder = loader(rest, LoadOptions(device, precision, local_files_only, self_check, streams))
    except DatumaroClipError:
        raise
    except Exception as exc:  # Another package's code.
        raise PluginError(f"the encoder '{name}' cannot be loaded: {type(exc).__name__}: {exc}") from exc
    if not isinstance(encoder, Encoder):
        raise PluginError(f"the encoder '{kind}' is of type {type(encoder).__name__}, wanted a datumaro_clip.Encoder")
    return encoder


def encoders_of_others() -> list[str]:
    """List the names of the encoders that other installed packages offer."""
    return sorted(set(offered(GROUP)) - {_USUAL})


def load_openvino(name: str, options: LoadOptions) -> Encoder:
    """Load a model that :func:`resolve` finds, on OpenVINO: this package's own :data:`EncoderLoader`."""
    found = resolve(name, local_files_only=options.local_files_only)
    manifest = verify_files(found.path, (TOKENIZER, PREPROCESSOR, GOLDEN))
    computing = OpenVINOEncoder(found.path, manifest, options.device, options.precision, streams=options.streams)
    if computing.preprocessing.size != manifest.image_size:
        raise ModelFormatError(
            f"the processor of {found.path} makes pictures of {computing.preprocessing.size}, "
            f"but its manifest says {manifest.image_size}; export the model again"
        )
    # The known vectors were computed in f32 on a CPU. There, only a changed manifest gives other vectors, as by another
    # context length; one without a digest, of an older release, may have been changed.
    is_safe = manifest.is_sealed and options.device.upper() == "CPU" and computing.provenance.precision == "f32"
    golden = GoldenVectors.load(found.path) if options.self_check and not is_safe else None
    return CheckedEncoder(computing, found.path, golden)
