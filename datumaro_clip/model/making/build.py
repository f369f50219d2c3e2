"""Build a model directory from raw encoders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.directory import (
    IMAGE_ENCODER,
    PREPROCESSOR,
    TEXT_ENCODER,
    TOKENIZER,
    ModelManifest,
    Origin,
    describe_files,
    write_manifest,
)
from datumaro_clip.model.golden import GoldenVectors, golden_pixels, golden_tokens
from datumaro_clip.model.making.assets import Assets
from datumaro_clip.model.making.fingerprint import fingerprint
from datumaro_clip.model.making.graphs import (
    RawEncoders,
    compute_f32,
    dimension,
    finish_image,
    finish_text,
    save_graph,
)
from datumaro_clip.system.files import atomic_directory, write_text
from datumaro_clip.system.machine import library_versions
from datumaro_clip.texts import Tokenizer

# Libraries whose version may change the last bits of a vector.
_LIBRARIES = ("datumaro-clip", "openvino", "optimum-intel", "transformers", "torch", "tokenizers", "pillow")


def build_directory(encoders: RawEncoders, assets: Assets, out: Path, origin: Origin) -> ModelManifest:
    """Build a model directory of precision f32; it appears whole or not at all.

    Parameters
    ----------
    encoders : RawEncoders
        Modified; not to be used afterwards.
    assets : Assets
    out : Path
        A new or empty directory.
    origin : Origin

    Raises
    ------
    FileExistsError
        If ``out`` holds something.
    ModelFormatError
        If the graphs are not those of such a model.
    """
    with atomic_directory(out) as directory:
        space = fingerprint(encoders, assets)
        # The exporter chose whether the text graph takes a mask, and texts of any length; neither changes a vector.
        takes_any_length = encoders.text.input(0).get_partial_shape()[1].is_dynamic
        text = replace(
            assets.text,
            attention_mask=len(encoders.text.inputs) > 1,
            padding=assets.text.padding if takes_any_length else "max_length",
        )
        finished = RawEncoders(finish_image(encoders.image, assets.preprocessing), finish_text(encoders.text, text))
        if dimension(finished.image) != dimension(finished.text):
            raise ModelFormatError(
                f"pictures have vectors of {dimension(finished.image)} dimensions and texts of "
                f"{dimension(finished.text)}: the two encoders are not of one model"
            )
        save_graph(finished.image, directory / IMAGE_ENCODER)
        save_graph(finished.text, directory / TEXT_ENCODER)
        write_text(directory / TOKENIZER, assets.tokenizer)
        write_text(directory / PREPROCESSOR, json.dumps(assets.preprocessor, indent=2) + "\n")
        tokenizer = Tokenizer.from_file(directory / TOKENIZER, text)
        golden_vectors(finished, assets.preprocessing.size, tokenizer).save(directory)
        manifest = ModelManifest(
            name=origin.name,
            family=assets.family,
            space=space,
            dimension=dimension(finished.image),
            precision="f32",
            image_size=assets.preprocessing.size,
            text=text,
            source=origin.to_manifest(),
            versions=library_versions(_LIBRARIES),
            files=describe_files(directory),
        )
        write_manifest(directory, manifest)
    return manifest


def golden_vectors(encoders: RawEncoders, size: tuple[int, int], tokenizer: Tokenizer) -> GoldenVectors:
    """Compute the vectors of the golden inputs on the CPU, in f32 except in quantised layers.

    Parameters
    ----------
    encoders : RawEncoders
        Finished, as a model directory keeps them.
    size : tuple of int
        (H, W) of the model's pictures.
    tokenizer : Tokenizer
    """
    tokens = golden_tokens(tokenizer)
    texts = {"input_ids": tokens.input_ids}
    if tokenizer.settings.attention_mask:
        texts["attention_mask"] = tokens.attention_mask
    pixels = {"pixels": golden_pixels(size)}
    return GoldenVectors(compute_f32(encoders.image, pixels), compute_f32(encoders.text, texts))
