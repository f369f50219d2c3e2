"""A device that answers wrongly is refused before anything is built on its vectors."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

from datumaro_clip.errors import ModelFormatError, SelfCheckError
from datumaro_clip.model.directory import describe_files, read_manifest, write_manifest
from datumaro_clip.model.encoder import PixelBatch
from datumaro_clip.model.golden import (
    GOLDEN_TEXTS,
    LEAST_COSINE,
    CheckedEncoder,
    GoldenVectors,
    check_pictures,
    check_texts,
    golden_pixels,
    golden_tokens,
)
from datumaro_clip.model.loading import load_model
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.texts import TokenBatch
from datumaro_clip.vectors import FloatArray, unit_rows

Damage = Callable[[FloatArray], FloatArray]


class BrokenEncoder(FakeEncoder):
    """A device whose vectors are damaged."""

    def __init__(self, damage: Damage, *, pictures: bool = True, texts: bool = True, precision: str = "bf16") -> None:
        super().__init__(precision=precision, device="GPU.7")
        self.damage = damage
        self.pictures, self.texts = pictures, texts

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        return self._damaged(super().submit_pixels(pixels), self.pictures)

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        return self._damaged(super().submit_tokens(tokens), self.texts)

    def _damaged(self, answer: Future[FloatArray], wanted: bool) -> Future[FloatArray]:
        future: Future[FloatArray] = Future()
        future.set_result(self.damage(answer.result()) if wanted else answer.result())
        return future


def golden_of(encoder: FakeEncoder) -> GoldenVectors:
    return GoldenVectors(
        FakeEncoder.submit_pixels(encoder, golden_pixels(encoder.preprocessing.size)).result(),
        FakeEncoder.submit_tokens(encoder, golden_tokens(encoder.tokenizer)).result(),
    )


def identity(rows: FloatArray) -> FloatArray:
    return rows


def noise(rows: FloatArray) -> FloatArray:
    return unit_rows(rows + np.random.default_rng(0).normal(size=rows.shape).astype(np.float32) * 0.05)


def nan_in_one(rows: FloatArray) -> FloatArray:
    rows = rows.copy()
    rows[3] = np.nan
    return rows


def test_the_golden_inputs_never_change() -> None:
    """Models keep the vectors of exactly these; another picture or text makes every self-check fail."""
    digest = hashlib.sha256(golden_pixels((224, 224)).tobytes() + golden_pixels((7, 30)).tobytes())
    assert digest.hexdigest() == "d1ef8e6a7fcbcaf65c25408e623a698c8cdcbc6bc32b8f7d7cb71c357fc1ed0c"
    assert (
        hashlib.sha256("\n".join(GOLDEN_TEXTS).encode()).hexdigest()
        == "562b0217dccd80cd40e2863f8120b367a7455f3a46b73d78ab6b90b0041d8c66"
    )


def test_the_golden_pictures_are_eight_different_ones() -> None:
    pixels = golden_pixels((32, 48))
    assert pixels.shape == (8, 32, 48, 3)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.reshape(8, -1), axis=0)) == 8


def test_a_right_answer_passes() -> None:
    encoder = BrokenEncoder(identity)
    assert check_pictures(encoder, golden_of(encoder)) == pytest.approx(1.0)
    assert check_texts(encoder, golden_of(encoder)) == pytest.approx(1.0)


@pytest.mark.parametrize("damage", [np.negative, noise, nan_in_one, lambda rows: rows[::-1], lambda rows: rows[:, :-1]])
def test_a_wrong_answer_is_refused(damage: Damage) -> None:
    pictures, texts = BrokenEncoder(damage, texts=False), BrokenEncoder(damage, pictures=False)
    with pytest.raises(SelfCheckError, match=r"GPU\.7 answers wrongly in bf16: golden picture.*--no-self-check"):
        check_pictures(pictures, golden_of(pictures))
    with pytest.raises(SelfCheckError, match=r"GPU\.7 answers wrongly in bf16: golden text.*--no-self-check"):
        check_texts(texts, golden_of(texts))
    check_texts(pictures, golden_of(pictures))
    check_pictures(texts, golden_of(texts))


@pytest.mark.parametrize("precision", LEAST_COSINE)
def test_each_precision_has_its_own_bound(precision: str) -> None:
    """Vectors turned by just more than the bound allows are refused, by just less pass."""

    def turned(by: float) -> Damage:
        cosine = LEAST_COSINE[precision] + by
        return lambda rows: (cosine * rows + np.sqrt(1 - cosine**2) * perpendicular(rows)).astype(np.float32)

    passing = BrokenEncoder(turned(+2e-5), precision=precision)
    check_pictures(passing, golden_of(passing))
    failing = BrokenEncoder(turned(-2e-5), precision=precision)
    with pytest.raises(SelfCheckError):
        check_pictures(failing, golden_of(failing))


def perpendicular(rows: FloatArray) -> FloatArray:
    other = np.roll(rows, 1, axis=1)
    return unit_rows(other - np.einsum("nd,nd->n", rows, other)[:, None] * rows)


def test_nothing_is_computed_before_the_first_batch_and_the_check_runs_once() -> None:
    encoder = BrokenEncoder(identity)
    calls: list[int] = []
    encoder.damage = lambda rows: calls.append(len(rows)) or rows  # type: ignore[func-returns-value]
    checked = CheckedEncoder(encoder, golden=golden_of(encoder))
    assert (checked.space, checked.provenance) == (encoder.space, encoder.provenance)
    assert calls == []
    checked.embed_texts(["red", "tan"])
    checked.embed_texts(["green"])
    assert calls == [8, 2, 1]
    checked.embed_images([np.zeros((9, 9, 3), np.uint8)])
    assert calls == [8, 2, 1, 8, 1]


def test_a_refused_device_stays_refused() -> None:
    encoder = BrokenEncoder(np.negative)
    checked = CheckedEncoder(encoder, golden=golden_of(encoder))
    for _ in range(2):
        with pytest.raises(SelfCheckError):
            checked.embed_images([np.zeros((9, 9, 3), np.uint8)])


@pytest.mark.export
def test_a_model_whose_graph_computes_something_else_is_refused(random_clip: Path, tmp_path: Path) -> None:
    """Wrong vectors are refused, whatever the cause, except without the self-check."""
    broken = shutil.copytree(random_clip, tmp_path / "broken")
    manifest = read_manifest(broken)
    model = ov.Core().read_model(random_clip / "image_encoder.xml")
    signs = np.tile(np.array([1, -1], np.float32), manifest.dimension // 2)
    turned = opset13.multiply(model.output(0).get_node().input_value(0), signs)
    turned.output(0).get_tensor().set_names({"embeddings"})
    ov.save_model(ov.Model([turned], model.get_parameters(), "image_encoder"), broken / "image_encoder.xml")
    write_manifest(broken, replace(manifest, files=describe_files(broken)))
    picture = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(SelfCheckError):
        load_model(broken, precision="bf16").embed_images([picture])
    assert load_model(broken, precision="bf16", self_check=False).embed_images([picture]).shape == (1, 24)


@pytest.mark.parametrize(
    "rows", [np.zeros((16, 4), np.float32), np.eye(16, dtype=np.float64), np.eye(4, dtype=np.float32)]
)
def test_golden_vectors_that_are_none_are_refused(rows: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "golden.npy", rows)
    with pytest.raises(ModelFormatError, match="wanted 16 unit rows"):
        GoldenVectors.load(tmp_path)


def test_golden_vectors_that_are_pickled_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "golden.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelFormatError, match="cannot be read"):
        GoldenVectors.load(tmp_path)
