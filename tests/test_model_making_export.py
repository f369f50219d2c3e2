"""An export computes what the checkpoint computes, however it was exported."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datumaro_clip.errors import ModelExportError, ModelFormatError
from datumaro_clip.model.directory import Origin, read_manifest, verify_files
from datumaro_clip.model.golden import GOLDEN_TEXTS, GoldenVectors, golden_pixels
from datumaro_clip.model.making.assets import read_assets
from datumaro_clip.model.making.export import import_optimum
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.vectors import FloatArray, unit_rows

pytestmark = pytest.mark.export

ORIGIN = Origin("random/small", "checkpoint")
TEXTS = [*GOLDEN_TEXTS, "", "word " * 200]


@pytest.fixture(scope="module")
def siglip_checkpoint(export_extra: None, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from make_random_clip import make_random_clip

    return make_random_clip(tmp_path_factory.mktemp("siglip") / "checkpoint", family="siglip")


@pytest.fixture(scope="module")
def siglip(siglip_checkpoint: Path) -> Path:
    from datumaro_clip.model.making.export import export_checkpoint

    out = siglip_checkpoint.with_name("model")
    export_checkpoint(siglip_checkpoint, out, ORIGIN)
    return out


@pytest.fixture(params=["clip", "siglip"])
def pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A checkpoint, and the model directory exported from it."""
    names = {"clip": ("random_clip_checkpoint", "random_clip"), "siglip": ("siglip_checkpoint", "siglip")}
    checkpoint, model = (request.getfixturevalue(name) for name in names[request.param])
    return checkpoint, model


def open_f32(directory: Path) -> OpenVINOEncoder:
    return OpenVINOEncoder(directory, read_manifest(directory), precision="f32")


def by_transformers(checkpoint: Path, encoder: OpenVINOEncoder) -> tuple[FloatArray, FloatArray]:
    """Golden pictures and texts, embedded by the checkpoint itself, texts padded to full length."""
    import torch
    from transformers import AutoModel

    steps, settings = encoder.preprocessing, encoder.tokenizer.settings
    pixels = golden_pixels(steps.size) * steps.rescale_factor
    pixels = ((pixels - np.array(steps.mean)) / np.array(steps.std)).transpose(0, 3, 1, 2)
    rows = encoder.tokenizer.encode(TEXTS).ids
    ids = np.full((len(rows), settings.context_length), settings.pad_id)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.no_grad():
        out = model(pixel_values=torch.tensor(pixels, dtype=torch.float32), input_ids=torch.tensor(ids))
    return unit_rows(out.image_embeds.numpy()), unit_rows(out.text_embeds.numpy())


def test_an_export_is_a_model_directory_that_verifies(pair: tuple[Path, Path]) -> None:
    manifest = verify_files(pair[1])
    assert manifest == read_manifest(pair[1])
    assert manifest.precision == "f32"
    assert sorted(path.name for path in pair[1].iterdir()) == sorted(["manifest.json", *manifest.files])


def test_vectors_are_those_of_transformers(pair: tuple[Path, Path]) -> None:
    """Cosine similarity of at least 0.99999, although texts are padded to the batch's longest only (CLIP)."""
    encoder = open_f32(pair[1])
    images, texts = by_transformers(pair[0], encoder)
    ours = encoder.submit_pixels(golden_pixels(encoder.preprocessing.size)).result()
    assert np.min(np.einsum("nd,nd->n", images, ours)) >= 0.99999
    assert np.min(np.einsum("nd,nd->n", texts, encoder.embed_texts(TEXTS))) >= 0.99999


def test_a_text_has_one_vector_however_much_it_is_padded(random_clip: Path) -> None:
    encoder = open_f32(random_clip)
    short = encoder.embed_texts(["a photo of a cat"])
    beside_long = encoder.submit_tokens(encoder.tokenizer.encode(["a photo of a cat", "word " * 200]).batch([0, 1]))
    np.testing.assert_allclose(beside_long.result()[:1], short, atol=1e-5)


def test_golden_vectors_are_those_of_the_encoder(pair: tuple[Path, Path]) -> None:
    encoder = open_f32(pair[1])
    golden = GoldenVectors.load(pair[1])
    np.testing.assert_allclose(encoder.embed_texts(GOLDEN_TEXTS), golden.texts, atol=1e-5)
    pixels = golden_pixels(encoder.preprocessing.size)
    np.testing.assert_allclose(encoder.submit_pixels(pixels).result(), golden.images, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # torch's tracer warns of every export
def test_optimum_cli_gives_the_same_space_and_vectors(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optimum.commands.optimum_cli import main

    words = ["export", "openvino", "-m", str(pair[0]), "--task", "zero-shot-image-classification"]
    monkeypatch.setattr(sys, "argv", ["optimum-cli", *words, str(tmp_path / "ir")])
    main()
    manifest = import_optimum(tmp_path / "ir", tmp_path / "model", Origin("other", "optimum"))
    assert manifest.vector_space == read_manifest(pair[1]).vector_space
    theirs, ours = GoldenVectors.load(tmp_path / "model"), GoldenVectors.load(pair[1])
    np.testing.assert_allclose(theirs.images, ours.images, atol=1e-6)
    np.testing.assert_allclose(theirs.texts, ours.texts, atol=1e-6)


def test_another_export_has_the_same_bytes(random_clip_checkpoint: Path, random_clip: Path, tmp_path: Path) -> None:
    from datumaro_clip.model.making.export import export_checkpoint

    again = export_checkpoint(random_clip_checkpoint, tmp_path / "again", ORIGIN)
    assert again == read_manifest(random_clip)


def test_a_checkpoint_in_half_precision_is_its_own_space(
    random_clip_checkpoint: Path, random_clip: Path, tmp_path: Path
) -> None:
    """Rounded weights are other weights; they are computed in float32 all the same."""
    import torch
    from transformers import CLIPModel

    from datumaro_clip.model.making.export import export_checkpoint

    half = shutil.copytree(random_clip_checkpoint, tmp_path / "half")
    CLIPModel.from_pretrained(random_clip_checkpoint).to(torch.bfloat16).save_pretrained(half)
    manifest = export_checkpoint(half, tmp_path / "model", ORIGIN)
    images, texts = by_transformers(half, open_f32(tmp_path / "model"))
    golden = GoldenVectors.load(tmp_path / "model")
    assert manifest.space != read_manifest(random_clip).space
    assert np.min(np.einsum("nd,nd->n", images, golden.images)) >= 0.99999
    assert np.min(np.einsum("nd,nd->n", texts[:8], golden.texts)) >= 0.99999


@pytest.mark.parametrize(
    ("settings", "lowercase"),
    [({}, False), ({"do_lower_case": True}, True), ({"tokenizer_class": "Siglip2Tokenizer"}, True)],
)
def test_texts_of_siglip_2_are_lower_cased(
    siglip_checkpoint: Path, tmp_path: Path, settings: dict[str, Any], lowercase: bool
) -> None:
    """A SigLIP 2 of fixed resolution is a SigLIP, but for its tokenizer."""
    other = shutil.copytree(siglip_checkpoint, tmp_path / "other")
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    text = read_assets(other).text
    assert (text.lowercase, text.padding, text.context_length) == (lowercase, "max_length", 64)


def test_a_siglip_2_of_any_resolution_is_refused(siglip_checkpoint: Path, tmp_path: Path) -> None:
    naflex = shutil.copytree(siglip_checkpoint, tmp_path / "naflex")
    (naflex / "config.json").write_text('{"model_type": "siglip2"}')
    with pytest.raises(ModelFormatError, match=r"NaFlex.*take one of a fixed resolution"):
        read_assets(naflex)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("config.json", "{}", ModelFormatError),
        ("config.json", '{"model_type": "bert"}', ModelFormatError),
        ("model.safetensors", "nonsense", ModelExportError),
        ("tokenizer.json", "{", ModelFormatError),
        ("preprocessor_config.json", '{"do_pad": true}', ModelFormatError),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_leaves_nothing(
    random_clip_checkpoint: Path, tmp_path: Path, name: str, content: str, error: Any
) -> None:
    from datumaro_clip.model.making.export import export_checkpoint

    damaged = shutil.copytree(random_clip_checkpoint, tmp_path / "damaged")
    (damaged / name).write_text(content)
    with pytest.raises(error):
        export_checkpoint(damaged, tmp_path / "out", ORIGIN)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]
