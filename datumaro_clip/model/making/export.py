"""Make model directories from others' exports, and export checkpoints.

The only module that imports torch, transformers and optimum.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datumaro_clip.errors import MissingDependencyError, ModelExportError, ModelFormatError
from datumaro_clip.model.directory import PREPROCESSOR, TOKENIZER, ModelManifest, Origin
from datumaro_clip.model.layouts import ONNX_TEXT, ONNX_VISION, OPTIMUM_COMBINED
from datumaro_clip.model.making.assets import read_assets
from datumaro_clip.model.making.build import build_directory
from datumaro_clip.model.making.graphs import RawEncoders, cut
from datumaro_clip.model.openvino import read_graph
from datumaro_clip.model.request_queue import gist

_TASK = "zero-shot-image-classification"


def import_optimum(directory: Path, out: Path, origin: Origin) -> ModelManifest:
    """Make a model directory from an export of optimum-cli.

    Raises
    ------
    ModelFormatError
        If the graph is not that of a model with an image and a text encoder.
    """
    return build_directory(read_combined(directory), read_assets(directory), out, origin)


def read_combined(directory: Path) -> RawEncoders:
    """Cut the two encoders out of optimum-cli's combined graph; raises as :func:`import_optimum`."""
    model = read_graph(directory / OPTIMUM_COMBINED)
    return RawEncoders(
        image=cut(model, ["pixel_values"], "image_embeds"),
        text=cut(model, ["input_ids", "attention_mask"], "text_embeds"),
    )


def import_onnx(directory: Path, out: Path, origin: Origin) -> ModelManifest:
    """Make a model directory from a pair of ONNX encoders in the layout of transformers.js; needs no torch.

    Raises
    ------
    ModelFormatError
        If the graphs are not an image and a text encoder.
    """
    encoders = RawEncoders(
        image=_read_onnx(directory / ONNX_VISION, ["pixel_values"], "image_embeds"),
        text=_read_onnx(directory / ONNX_TEXT, ["input_ids", "attention_mask"], "text_embeds"),
    )
    return build_directory(encoders, read_assets(directory), out, origin)


def _read_onnx(path: Path, inputs: list[str], output: str) -> Any:
    """Read one encoder; exports of SigLIP, which has no projection after its pooling, give the pooled output."""
    model = read_graph(path)
    names = {name for port in model.outputs for name in port.get_names()}
    for wanted in (output, "pooler_output"):
        if wanted in names:
            return cut(model, inputs, wanted)
    raise ModelFormatError(f"{path} puts out {', '.join(sorted(names))}, wanted {output} or pooler_output")


def export_checkpoint(checkpoint: Path, out: Path, origin: Origin) -> ModelManifest:
    """Export a transformers checkpoint to a model directory of precision f32.

    Does the same as ``optimum-cli export openvino`` followed by :func:`import_optimum`.

    Parameters
    ----------
    checkpoint : Path
        A directory as ``save_pretrained`` writes it.
    out : Path
        A new or empty directory.
    origin : Origin
        Where the model came from, for the manifest.

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
    """Let optimum-intel write its combined graph, as ``optimum-cli export openvino`` does.

    The graph is float32, whatever the checkpoint's precision. The files of tokenizer and image processor are copied
    from the checkpoint, if it has them, because transformers rewrites them. Raises as :func:`export_checkpoint`.
    """
    if (checkpoint / TOKENIZER).is_file():
        _ = read_assets(checkpoint).preprocessing  # Refuse an unusable checkpoint before the long export.
    _run_optimum(checkpoint, out, "transformers")
    for name in (TOKENIZER, PREPROCESSOR):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, out / name)


def export_towers(config: Path, weights: Path, out: Path) -> None:
    """Let OpenCLIP build a model, and optimum-intel write a graph for each of its encoders.

    Does the same as ``optimum-cli export openvino --library open_clip``.

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
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as exc:
        raise _missing(exc) from exc
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        shutil.copyfile(config, Path(folder) / config.name)
        try:
            # optimum-intel looks for OpenCLIP's weights in torch's format, and reads only tensors from the file.
            torch.save(load_file(weights), Path(folder) / "open_clip_pytorch_model.bin")
        except (OSError, SafetensorError) as exc:
            raise ModelExportError(f"{weights} cannot be read: {exc}") from exc
        _run_optimum(Path(folder), out, "open_clip")


def _run_optimum(checkpoint: Path, out: Path, library: str) -> None:
    """Run optimum-intel's export of a checkpoint whose model a library builds."""
    try:
        import torch
        from optimum.exporters.openvino import main_export
        from optimum.intel.openvino.configuration import OVConfig
    except ImportError as exc:
        raise _missing(exc) from exc
    with _quiet():
        try:
            main_export(
                str(checkpoint),
                output=out,
                task=_TASK,
                ov_config=OVConfig(dtype="fp32"),
                model_loading_kwargs={"torch_dtype": torch.float32},
                local_files_only=True,
                library_name=library,
            )
        except Exception as exc:  # Any type, as for a missing tensor or an unknown operation.
            raise ModelExportError(f"optimum-intel cannot export {checkpoint}: {gist(exc)}") from exc


def _missing(exc: ImportError) -> MissingDependencyError:
    """Make the error for a library of the extra that is not installed."""
    library = (exc.name or "optimum-intel").partition(".")[0]
    return MissingDependencyError(library, "export", "exporting a checkpoint")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of torch's tracer, and the log and progress bars of transformers, in a block."""
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
