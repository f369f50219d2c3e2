"""CLIP ViT-B/32 of random weights, exported once and kept: speed does not depend on the weights."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import ROOT, SHARED
from datumaro_clip.cli import main
from datumaro_clip.system.files import cache_root

TOKENIZER = SHARED / "models" / "clip_tokenizer"
PRECISIONS = ("f32", "bf16", "int8")


def checkpoint() -> Path:
    """The checkpoint, as transformers reads it."""
    folder = cache_root() / "bench" / "checkpoint"
    if not (folder / "model.safetensors").exists():
        sys.path.append(str(ROOT / "tools"))
        from make_random_clip import make_random_clip

        make_random_clip(folder, size="b32", tokenizer=TOKENIZER if TOKENIZER.is_dir() else None)
    return folder


def model_directory(precision: str) -> Path:
    """The model directory that computes in a precision; bf16 is computed from f32's."""
    name = "int8" if precision == "int8" else "f32"
    folder = cache_root() / "bench" / name
    if not (folder / "manifest.json").exists():
        command = ["model", "export", str(checkpoint()), "-o", str(folder), "--precision", name]
        if main(command + (_calibration() if name == "int8" else [])):
            raise RuntimeError(f"the {name} model could not be made")
    return folder


def _calibration() -> list[str]:
    """Return options that calibrate on drawn pictures; the loss of random weights in int8 is accepted."""
    data = cache_root() / "bench" / "catalogue"
    if not data.is_dir():
        main(["catalogue", "-o", str(data), "--items", "100"])
    return ["--calibrate", f"{data}:coco", "--accept-loss", "--samples", "32"]
