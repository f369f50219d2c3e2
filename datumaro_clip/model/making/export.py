"""Checkpoints to model directories, through optimum-intel: the only importer of torch, transformers and optimum."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datumaro_clip.errors import MissingDependencyError, ModelExportError
from datumaro_clip.model.directory import PREPROCESSOR, TOKENIZER, Manifest
from datumaro_clip.model.making.assets import read_assets
from datumaro_clip.model.making.build import Origin
from datumaro_clip.model.making.optimum_ir import import_optimum
from datumaro_clip.model.requests import gist

_TASK = "zero-shot-image-classification"


def export_checkpoint(checkpoint: Path, out: Path, origin: Origin) -> Manifest:
    """Export a transformers checkpoint to a model directory of precision f32.

    What this does is what ``optimum-cli export openvino`` and :func:`import_optimum` do one after the other.

    Parameters
    ----------
    checkpoint : Path
        A directory as ``save_pretrained`` writes it.
    out : Path
        A new or empty directory.
    origin : Origin
        What the manifest says of where it came from.

    Raises
    ------
    MissingDependencyError
        Without the extra ``export``.
    ModelExportError
        If optimum-intel cannot export it.
    ModelFormatError
        If it is not a model with an image and a text encoder.
    """
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        combined = Path(folder)
        export_combined(checkpoint, combined)
        return import_optimum(combined, out, origin)


def export_combined(checkpoint: Path, out: Path) -> None:
    """Let optimum-intel write its one combined graph, as ``optimum-cli export openvino`` does.

    The graph is float32, whatever the checkpoint is in. Tokenizer and image processor are the checkpoint's own
    files where it has them: transformers writes its own reading of them. Raises as :func:`export_checkpoint`.
    """
    if (checkpoint / TOKENIZER).is_file():
        _ = read_assets(checkpoint).preprocessing  # What can be seen to be of no use is refused before the long work.
    _run_optimum(checkpoint, out, "transformers")
    for name in (TOKENIZER, PREPROCESSOR):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, out / name)


def export_towers(config: Path, weights: Path, out: Path) -> None:
    """Let OpenCLIP build a model, and optimum-intel write a graph of each of its encoders.

    What this does is what ``optimum-cli export openvino --library open_clip`` does.

    Parameters
    ----------
    config, weights : Path
        ``open_clip_config.json``, and weights in safetensors.
    out : Path
        A directory.

    Raises
    ------
    MissingDependencyError
        Without the extra ``openclip``.
    ModelExportError
        If it cannot be exported.
    """
    if find_spec("open_clip") is None:
        raise MissingDependencyError(
            "open_clip", "openclip", "exporting an OpenCLIP model with an image encoder of timm"
        )
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        shutil.copyfile(config, Path(folder) / config.name)
        # optimum-intel looks for OpenCLIP's weights in torch's own format; it reads nothing but tensors from it.
        _save_for_torch(weights, Path(folder) / "open_clip_pytorch_model.bin")
        _run_optimum(Path(folder), out, "open_clip")


def _save_for_torch(weights: Path, out: Path) -> None:
    """Write a file of safetensors in torch's own format."""
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as exc:
        raise _missing(exc) from exc
    try:
        torch.save(load_file(weights), out)
    except (OSError, SafetensorError) as exc:
        raise ModelExportError(f"{weights} cannot be read: {exc}") from exc


def _run_optimum(checkpoint: Path, out: Path, library: str) -> None:
    """optimum-intel's own export of a checkpoint that a library builds."""
    main_export, config, dtype = _exporter()
    with _quiet():
        try:
            main_export(
                str(checkpoint),
                output=out,
                task=_TASK,
                ov_config=config,
                model_loading_kwargs={"torch_dtype": dtype},
                local_files_only=True,
                library_name=library,
            )
        except Exception as exc:  # Anything between a missing tensor and an unknown operation.
            raise ModelExportError(f"optimum-intel cannot export {checkpoint}: {gist(exc)}") from exc


def _exporter() -> tuple[Any, Any, Any]:
    """optimum-intel's export, its options for uncompressed weights, and torch's float32."""
    try:
        import torch
        from optimum.exporters.openvino import main_export
        from optimum.intel.openvino.configuration import OVConfig
    except ImportError as exc:
        raise _missing(exc) from exc
    return main_export, OVConfig(dtype="fp32"), torch.float32


def _missing(exc: ImportError) -> MissingDependencyError:
    """What to say of a library of the extra that is not here."""
    library = (exc.name or "optimum-intel").partition(".")[0]
    return MissingDependencyError(library, "export", "exporting a checkpoint")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes that torch's tracer and transformers make of every export."""
    import transformers

    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
