"""The kinds of directories that a model can come from, in the order in which they are looked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from datumaro_clip.model.directory import CERTIFICATE, IMAGE_ENCODER, MANIFEST, REQUIRED_FILES
from datumaro_clip.model.jsonfile import read_json
from datumaro_clip.model.making import onnx_encoders, openclip_towers, optimum_ir

if TYPE_CHECKING:
    from datumaro_clip.model.directory import Manifest
    from datumaro_clip.model.making.build import Origin

Maker = Callable[[Path, Path, "Origin"], "Manifest"]

_ASSETS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)


@dataclass(frozen=True)
class Layout:
    """One kind of directory.

    Attributes
    ----------
    kind : str
        Its name in a manifest's ``source``.
    description : str
        For people.
    signs : tuple of tuple of str
        Alternatives; a directory is of this kind if it has every file of one of them.
    files : tuple of str
        Patterns of the files that are of use, beside the signs.
    make : callable or None
        Makes a model directory of it; None where it is one.
    """

    kind: str
    description: str
    signs: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]
    make: Maker | None

    def fits(self, names: Collection[str]) -> bool:
        """Whether a directory with these files is of this kind."""
        return any(all(sign in names for sign in alternative) for alternative in self.signs)

    def wanted(self, names: Collection[str]) -> list[str]:
        """Those of a repository's files that are of use: of several alternatives, only the first."""
        signs = next(alternative for alternative in self.signs if all(sign in names for sign in alternative))
        return [name for name in names if name in signs or any(fnmatch(name, p) for p in self.files)]


def _export_checkpoint(checkpoint: Path, out: Path, origin: Origin) -> Manifest:
    """As :func:`datumaro_clip.model.making.export.export_checkpoint`, which is imported only when needed."""
    from datumaro_clip.model.making.export import export_checkpoint

    return export_checkpoint(checkpoint, out, origin)


def _export_openclip(checkpoint: Path, out: Path, origin: Origin) -> Manifest:
    """As :func:`datumaro_clip.model.making.openclip.export_openclip`, which is imported only when needed."""
    from datumaro_clip.model.making.openclip import export_openclip

    return export_openclip(checkpoint, out, origin)


LAYOUTS = (
    Layout(
        "directory",
        "a model directory of datumaro-clip",
        ((MANIFEST, IMAGE_ENCODER),),
        (*REQUIRED_FILES, CERTIFICATE),
        None,
    ),
    Layout(
        "optimum",
        "an export of optimum-cli",
        (("config.json", optimum_ir.COMBINED, "openvino_model.bin"),),
        _ASSETS,
        optimum_ir.import_optimum,
    ),
    Layout(
        "optimum",
        "an export of an OpenCLIP model by optimum-cli",
        (
            (
                "config.json",
                openclip_towers.VISION,
                "openvino_model_vision.bin",
                openclip_towers.TEXT,
                "openvino_model_text.bin",
            ),
        ),
        _ASSETS,
        openclip_towers.import_towers,
    ),
    Layout(
        "onnx",
        "a pair of ONNX encoders",
        (("config.json", onnx_encoders.VISION, onnx_encoders.TEXT),),
        (*_ASSETS, onnx_encoders.VISION + "_data", onnx_encoders.TEXT + "_data"),
        onnx_encoders.import_onnx,
    ),
    Layout(
        "checkpoint",
        "a checkpoint of transformers",
        (
            ("config.json", "model.safetensors"),
            ("config.json", "model.safetensors.index.json"),
            ("config.json", "pytorch_model.bin"),
        ),
        (*_ASSETS, "model-*-of-*.safetensors"),
        _export_checkpoint,
    ),
    Layout(
        "openclip",
        "a checkpoint of OpenCLIP",
        (("open_clip_config.json", "open_clip_model.safetensors"),),
        _ASSETS,
        _export_openclip,
    ),
)


def find_layout(names: Collection[str]) -> Layout | None:
    """The first layout that a directory with these files (relative, ``/`` between parts) fits; None if none does."""
    return next((layout for layout in LAYOUTS if layout.fits(names)), None)


def relative_names(directory: Path) -> set[str]:
    """Files in a directory and in its folders, relative, ``/`` between parts."""
    paths = [*directory.glob("*"), *directory.glob("*/*")]
    return {path.relative_to(directory).as_posix() for path in paths if path.is_file()}


def is_complete(directory: Path) -> bool:
    """Whether what was downloaded has tokenizer, image processor, and all files of weights that the others name."""
    names = relative_names(directory)
    if MANIFEST in names:
        return set(REQUIRED_FILES) <= names
    processor = {"preprocessor_config.json", "processor_config.json"}
    tokenizer = {"tokenizer.json", "vocab.json", "spiece.model"}
    if openclip_towers.VISION in names:
        processor = {"config.json"}
    elif "open_clip_config.json" in names and "config.json" not in names:
        processor = {"open_clip_config.json"}
    return bool(names & processor) and bool(names & tokenizer) and _parts(directory, names) <= names


def _parts(directory: Path, names: set[str]) -> set[str]:
    """Files of weights that an index or an ONNX graph names."""
    index = directory / "model.safetensors.index.json"
    shards = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else set()
    graphs = names & {onnx_encoders.VISION, onnx_encoders.TEXT}
    return shards | {f"{graph}_data" for graph in graphs if _names_its_data(directory / graph)}


def _names_its_data(graph: Path) -> bool:
    """Whether an ONNX graph keeps weights in the file beside it."""
    name = f"{graph.name}_data".encode()
    with graph.open("rb") as file:
        return any(name in line for line in file)
