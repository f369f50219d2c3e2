"""Measure the bundled model on drawn pictures that training never saw; fail when a goal is missed.

    python tools/eval_tiny.py [--model DIRECTORY] [--items 1000]

prints one line for each figure of docs/tiny.md and exits with 1 if one falls below its goal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_exam import GOALS, examine

from datumaro_clip.embedding import ImageRequest, embed_images, embed_texts
from datumaro_clip.model.loading import load_model


def main() -> int:
    """Measure, print, and say by the exit status whether every goal is met."""
    parser = argparse.ArgumentParser(description="Measure tiny on drawn pictures it has not seen.")
    parser.add_argument("--model", default="tiny", help="the bundled one, or a model directory")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    encoder = load_model(options.model, precision=options.precision)

    def images(pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        found = embed_images((ImageRequest(picture) for picture in pictures), encoder)
        return np.stack([result.vector for result in found])

    def texts(lines: Sequence[str]) -> NDArray[np.float32]:
        return embed_texts(lines, encoder)

    print(f"{options.model}, {encoder.provenance.precision}, {options.items} pictures for each exam")
    return report(examine(images, texts, options.items, options.seed))


def report(figures: Mapping[str, float]) -> int:
    """Print each figure beside its goal; 1 if one is missed, else 0."""
    for name, figure in figures.items():
        verdict = "" if figure >= GOALS[name] else "  MISSED"
        print(f"{name:40} {figure:6.1%}  goal {GOALS[name]:.0%}{verdict}")
    return int(any(figure < GOALS[name] for name, figure in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
