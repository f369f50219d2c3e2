"""Layouts: the kinds of directories that a model can come from, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from datumaro_clip.model.directory import CERTIFICATE, IMAGE_ENCODER, MANIFEST, REQUIRED_FILES, read_json

#: optimum-cli writes one graph with both encoders, or two graphs for an OpenCLIP model.
OPTIMUM_COMBINED = "openvino_model.xml"
OPTIMUM_VISION, OPTIMUM_TEXT = "openvino_model_vision.xml", "openvino_model_text.xml"
#: The names of transformers.js.
ONNX_VISION, ONNX_TEXT = "onnx/vision_model.onnx", "onnx/text_model.onnx"
OPENCLIP_CONFIG, OPENCLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
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
        Its name in a manifest's ``source``; ``directory`` for a model directory.
    description : str
        For people.
    signs : tuple of tuple of str
        Alternatives; a directory is of this kind if it has every file of one of them.
    files : tuple of str
        Patterns of further files that are needed.
    """

    kind: str
    description: str
    signs: tuple[tuple[str, ...], ...]
    files: tuple[str, ...] = _ASSETS

    def fits(self, names: Collection[str]) -> bool:
        """Return whether a directory with these files is of this kind."""
        return any(all(sign in names for sign in alternative) for alternative in self.signs)

    def wanted(self, names: Collection[str]) -> list[str]:
        """Return those of a repository's files that are needed; of several alternatives, only the first."""
        signs = next(alternative for alternative in self.signs if all(sign in names for sign in alternative))
        return [name for name in names if name in signs or any(fnmatch(name, p) for p in self.files)]


LAYOUTS = (
    Layout(
        "directory", "a model directory of datumaro-clip", ((MANIFEST, IMAGE_ENCODER),), (*REQUIRED_FILES, CERTIFICATE)
    ),
    Layout(
        "optimum",
        "an export of optimum-cli",
        (
            ("config.json", OPTIMUM_COMBINED, "openvino_model.bin"),
            ("config.json", OPTIMUM_VISION, "openvino_model_vision.bin", OPTIMUM_TEXT, "openvino_model_text.bin"),
        ),
    ),
    Layout(
        "onnx",
        "a pair of ONNX encoders",
        (("config.json", ONNX_VISION, ONNX_TEXT),),
        (*_ASSETS, ONNX_VISION + "_data", ONNX_TEXT + "_data"),
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
    ),
    Layout("openclip", "a checkpoint of OpenCLIP", ((OPENCLIP_CONFIG, OPENCLIP_WEIGHTS),)),
)


def find_layout(names: Collection[str]) -> Layout | None:
    """Return the first layout that fits a directory with these files (relative, ``/`` between parts), or None."""
    return next((layout for layout in LAYOUTS if layout.fits(names)), None)


def relative_names(directory: Path) -> set[str]:
    """List the files in a directory and in its folders, relative, ``/`` between parts."""
    paths = [*directory.glob("*"), *directory.glob("*/*")]
    return {path.relative_to(directory).as_posix() for path in paths if path.is_file()}


def is_complete(directory: Path) -> bool:
    """Return whether a download has a tokenizer, an image processor, and all files of weights that other files name."""
    names = relative_names(directory)
    if MANIFEST in names:
        return set(REQUIRED_FILES) <= names
    processor = {"preprocessor_config.json", "processor_config.json"}
    if OPTIMUM_VISION in names:
        processor = {"config.json"}
    elif OPENCLIP_CONFIG in names and "config.json" not in names:
        processor = {OPENCLIP_CONFIG}
    if not names & processor or not names & {"tokenizer.json", "vocab.json", "spiece.model"}:
        return False
    index = directory / "model.safetensors.index.json"
    parts = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else set()
    for graph in names & {ONNX_VISION, ONNX_TEXT}:
        with (directory / graph).open("rb") as file:
            # A graph that keeps its weights in a file beside it names that file.
            if any(f"{Path(graph).name}_data".encode() in line for line in file):
                parts.add(f"{graph}_data")
    return parts <= names
