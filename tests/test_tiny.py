"""The bundled model must be small, know the catalogue, and come from training that did not see what it is asked."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.demo.catalogue.spec import ATTRIBUTES
from datumaro_clip.embedding import ImageRequest, embed_images, embed_texts
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import resolve

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "datumaro_clip" / "bundled" / "tiny"
MEGABYTE = 1_000_000


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts of tools/ can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.fixture
def pictures(tools: None) -> ModuleType:
    return importlib.import_module("tiny_pictures")


@pytest.fixture
def exam(tools: None) -> ModuleType:
    return importlib.import_module("tiny_exam")


@pytest.fixture
def recipe(tools: None) -> ModuleType:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return importlib.import_module("tiny_recipe")


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return load_model("tiny", precision="f32")


def test_it_is_small_enough_for_the_wheel() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 8 * MEGABYTE


def test_its_manifest_says_that_it_was_trained_here() -> None:
    manifest = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["name"], manifest["precision"], manifest["source"]["kind"]) == ("tiny", "f16", "trained")


def test_accents_and_capitals_reach_the_model_as_they_should(tiny: Encoder) -> None:
    """A tokenizer that drops "é" or minds capitals would fail half of the users."""
    rows = embed_texts(["une théière rayée", "Une Théière RAYÉE", "un canapé uni"], tiny)
    assert np.allclose(rows[0], rows[1], atol=1e-5)
    assert rows[0] @ rows[2] < 0.9


def test_a_small_exam_is_passed(exam: ModuleType, tiny: Encoder) -> None:
    """The whole one, with the goals, is tools/eval_tiny.py; this one leaves room for chance."""

    def images(drawn: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([result.vector for result in embed_images(map(ImageRequest, drawn), tiny)])

    figures = exam.examine(images, lambda lines: embed_texts(lines, tiny), 60, seed=5)
    assert set(figures) == set(exam.GOALS)
    for name, figure in figures.items():
        assert figure >= exam.GOALS[name] - 0.1, name


def test_a_figure_below_its_goal_fails_the_evaluation(tools: None, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = importlib.import_module("eval_tiny")
    figures = dict.fromkeys(evaluation.GOALS, 1.0)
    assert evaluation.report(figures) == 0
    missed = next(iter(figures))
    assert evaluation.report(figures | {missed: 0.1}) == 1
    assert "MISSED" in capsys.readouterr().out


def test_a_tenth_of_the_combinations_is_held_out(pictures: ModuleType) -> None:
    held = [
        pictures.held_out({"kind": kind, "colour": colour, "pattern": pattern})
        for kind in ATTRIBUTES["kind"]
        for colour in ATTRIBUTES["colour"]
        for pattern in ATTRIBUTES["pattern"]
    ]
    assert sum(held) == len(held) // 10


def test_training_never_sees_what_is_held_out(pictures: ModuleType) -> None:
    assert not any(pictures.held_out(pictures.training_spec(0, index).attributes) for index in range(500))


def test_captions_are_coded_by_what_they_speak_of(pictures: ModuleType) -> None:
    assert pictures.codes_of({}) == [-1] * len(ATTRIBUTES)
    assert pictures.codes_of({"colour": "blue", "audience": "anyone"}) == [-1, 4, -1, -1, -1, -1]
    for text, codes in pictures.sayings(pictures.training_spec(0, 1).attributes, random.Random(0), 6):
        assert text
        assert any(code >= 0 for code in codes)


@pytest.mark.export
def test_a_caption_that_is_true_of_another_picture_does_not_count_against_it(recipe: ModuleType) -> None:
    import torch

    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [1.0, 0.1]]))
    shown = torch.tensor([[0, 1], [0, 2]])
    vague, exact = torch.tensor([[0, -1], [0, -1]]), shown
    scale = torch.tensor(10.0)
    assert recipe.contrastive_loss(rows, rows, scale, shown, vague) < 1e-6
    assert recipe.contrastive_loss(rows, rows, scale, shown, exact) > 0.1


@pytest.mark.export
def test_prompts_are_told_apart_within_their_attribute_only(recipe: ModuleType) -> None:
    """A picture at the prompts of all its values must have no loss, whatever the prompts of other attributes."""
    import torch

    widths = [len(ATTRIBUTES[name]) for name in recipe.PROMPTED]
    prompts = torch.nn.functional.normalize(torch.eye(sum(widths)))
    starts = [sum(widths[:index]) for index in range(len(widths))]
    right, wrong = (
        torch.nn.functional.normalize(prompts[[start + k for start in starts]].sum(0), dim=0) for k in (0, 1)
    )
    shown = torch.zeros((1, len(ATTRIBUTES)), dtype=torch.int8)
    scale = torch.tensor(60.0)
    assert recipe.prompt_loss(right[None], prompts, scale, shown) < 1e-3
    assert recipe.prompt_loss(wrong[None], prompts, scale, shown) > 10


@pytest.mark.export
def test_augmented_pictures_are_what_the_model_takes(recipe: ModuleType) -> None:
    import torch

    grey = torch.full((2, 112, 112, 3), 127, dtype=torch.uint8)
    pixels = recipe.augmented(grey, torch.Generator().manual_seed(0))
    assert pixels.shape == (2, 3, recipe.IMAGE_SIDE, recipe.IMAGE_SIDE)
    assert pixels.abs().max() < 0.5


@pytest.mark.export
def test_the_tokenizer_knows_every_text_and_ends_it(recipe: ModuleType) -> None:
    tokenizer = recipe.learn_tokenizer(["une armoire bleue", "a blue wardrobe"])
    ids = tokenizer.encode("Ωmega 猫 " * 40).ids
    assert len(ids) == recipe.CONTEXT_LENGTH
    assert (ids[0], ids[-1]) == (0, 1)
    assert tokenizer.decode(tokenizer.encode("a cat").ids).strip() == "a cat"


def test_its_log_line_says_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    resolve("tiny")
    assert "drawn catalogue pictures only" in caplog.text
