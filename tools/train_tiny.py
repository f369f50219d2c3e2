"""Train `tiny` from scratch on drawn catalogues and put it where the package carries it.

    python tools/train_tiny.py

draws the pictures, learns the tokenizer, trains both towers contrastively and writes the checkpoint to
build/tiny-checkpoint and the model directory to datumaro_clip/bundled/tiny. See docs/tiny.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tiny_pictures import RESIZED_SIDE, codes_of, draw_pictures, sayings, training_spec
from tiny_recipe import (
    ATTENTION,
    CONTEXT_LENGTH,
    DEVIATION,
    END,
    IMAGE_SIDE,
    MEAN,
    PROMPTED,
    START,
    augmented,
    configuration,
    contrastive_loss,
    learn_tokenizer,
    prompt_loss,
)
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from datumaro_clip.demo.catalogue import ATTRIBUTES, describe
from datumaro_clip.demo.catalogue.captions import LANGUAGES
from datumaro_clip.model.directory import Origin
from datumaro_clip.model.making.export import export_checkpoint
from datumaro_clip.model.making.precision import convert_precision

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "datumaro_clip" / "bundled" / "tiny"
CAPTIONS_EACH = 10
PROMPT_VARIANTS = 4
REPORT_EVERY = 50
STATE = "tiny-training.pt"
NOTE = (
    "it knows drawn catalogue pictures only; on photographs its vectors mean little: "
    "use --model openai/clip-vit-base-patch32 for those"
)


class Lessons(NamedTuple):
    """The content of pictures and captions, as numbers.

    ``prompts`` are captions of one attribute only, "a mug" or "un objet bleu": int16 (variants, values of every
    attribute of ``PROMPTED``, tokens).
    """

    shown: NDArray[np.int8]
    ids: NDArray[np.int16]
    told: NDArray[np.int8]
    prompts: NDArray[np.int16]


def main() -> None:
    """Draw, learn the tokenizer, train, save."""
    parser = argparse.ArgumentParser(description="Train tiny on drawn catalogues.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=5_600)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    pictures = draw_pictures(
        options.build / f"tiny-pictures-{options.seed}-{options.pictures}.npy", options.pictures, options.seed
    )
    tokenizer, lessons = prepare(len(pictures), options.seed)
    model = CLIPModel(configuration())
    model.set_attn_implementation(ATTENTION)
    curve = train(model, torch.from_numpy(pictures), lessons, options)
    save(model, tokenizer, curve, options.build / "tiny-checkpoint")
    bundle(options.build / "tiny-checkpoint", BUNDLE)


def prepare(count: int, seed: int) -> tuple[Tokenizer, Lessons]:
    """Return the tokenizer, and ``CAPTIONS_EACH`` tokenised captions for each of ``count`` pictures."""
    shown, texts, told = [], [], []
    for index in range(count):
        attributes = training_spec(seed, index).attributes
        shown.append(codes_of(attributes | {"audience": "children"}))
        shown[-1][-1] = int(attributes["audience"] == "children")
        for text, codes in sayings(attributes, random.Random(f"captions/{seed}/{index}"), CAPTIONS_EACH):
            texts.append(text)
            told.append(codes)
    tokenizer = learn_tokenizer(texts)
    ids = np.array([line.ids for line in tokenizer.encode_batch(texts)], dtype=np.int16)
    each = (count, CAPTIONS_EACH, -1)
    told = np.array(told, np.int8).reshape(each)
    return tokenizer, Lessons(np.array(shown, np.int8), ids.reshape(each), told, _prompts(tokenizer, seed))


def _prompts(tokenizer: Tokenizer, seed: int) -> NDArray[np.int16]:
    """Return ``Lessons.prompts``, in alternating languages."""
    rng = random.Random(f"prompts/{seed}")
    variants = [
        [describe({name: value}, language, rng) for name in PROMPTED for value in ATTRIBUTES[name]]
        for language in LANGUAGES * PROMPT_VARIANTS
    ]
    ids = [
        [line.ids + [1] * (CONTEXT_LENGTH - len(line.ids)) for line in tokenizer.encode_batch(one)] for one in variants
    ]
    return np.array(ids, dtype=np.int16)


def train(
    model: CLIPModel, pictures: torch.Tensor, lessons: Lessons, options: argparse.Namespace
) -> list[tuple[int, float]]:
    """Train ``model``; return the loss, averaged over each ``REPORT_EVERY`` steps.

    The state is saved on the way: an interrupted training goes on from there, and ends with the same weights.
    """
    optimiser = torch.optim.AdamW(_weight_groups(model), betas=(0.9, 0.98))
    chance = torch.Generator().manual_seed(options.seed)
    curve, losses, started = _resume(options.build / STATE, model, optimiser, chance), [], time.monotonic()
    for step in range(1 + (curve[-1][0] if curve else 0), options.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _rate(step, options.steps)
        chosen = torch.randperm(len(pictures), generator=chance)[: options.batch]
        losses.append(_step(model, optimiser, pictures, lessons, chosen, chance))
        if step % REPORT_EVERY == 0:
            curve.append((step, sum(losses) / len(losses)))
            print(f"step {step} loss {curve[-1][1]:.4f} seconds {time.monotonic() - started:.0f}", flush=True)
            losses = []
            _keep(options.build / STATE, model, optimiser, chance, curve)
    return curve


def _resume(
    path: Path, model: CLIPModel, optimiser: torch.optim.Optimizer, chance: torch.Generator
) -> list[tuple[int, float]]:
    """Restore an interrupted training, if there is one; return its loss curve so far."""
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    chance.set_state(state["chance"])
    return [(int(step), float(loss)) for step, loss in state["curve"]]


def _keep(
    path: Path,
    model: CLIPModel,
    optimiser: torch.optim.Optimizer,
    chance: torch.Generator,
    curve: list[tuple[int, float]],
) -> None:
    """Save the state of the training."""
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "chance": chance.get_state()}
    torch.save(state | {"curve": curve}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _step(
    model: CLIPModel,
    optimiser: torch.optim.Optimizer,
    pictures: torch.Tensor,
    lessons: Lessons,
    chosen: torch.Tensor,
    chance: torch.Generator,
) -> float:
    """Take a step on the ``chosen`` pictures, each with one of its captions; return the loss."""
    one = torch.randint(CAPTIONS_EACH, (len(chosen),), generator=chance).numpy()
    rows = chosen.numpy()
    shown, told = torch.from_numpy(lessons.shown[rows]), torch.from_numpy(lessons.told[rows, one])
    prompts = lessons.prompts[int(torch.randint(len(lessons.prompts), (1,), generator=chance))]
    ids = _side_by_side(lessons.ids[rows, one], prompts)
    images, texts = embed(model, augmented(pictures[chosen], chance), ids)
    scale = model.logit_scale.clamp(max=math.log(100)).exp()
    loss = contrastive_loss(images, texts[: len(rows)], scale, shown, told)
    loss = loss + prompt_loss(images, texts[len(rows) :], scale, shown)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _side_by_side(captions: NDArray[np.int16], prompts: NDArray[np.int16]) -> torch.Tensor:
    """Return captions and prompts as one batch, int64, padded to one length."""
    width = max(captions.shape[1], prompts.shape[1])
    padded = [np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=1) for one in (captions, prompts)]
    return torch.from_numpy(np.concatenate(padded).astype(np.int64))


def embed(model: CLIPModel, pixel_values: torch.Tensor, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit rows of the pictures and of the texts, float32."""
    longest = int((input_ids != 1).sum(dim=1).max()) + 1
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.visual_projection(model.vision_model(pixel_values=pixel_values).pooler_output)
        read = model.text_projection(model.text_model(input_ids=input_ids[:, :longest]).pooler_output)
    return functional.normalize(seen.float()), functional.normalize(read.float())


def _weight_groups(model: CLIPModel) -> list[dict[str, object]]:
    """Return parameter groups with weight decay for matrices only."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, steps: int) -> float:
    """Return the learning rate's factor: linear warm-up over 100 steps, constant, linear decay over the last 30%."""
    return min(1.0, step / 100, (steps - step + 1) / (0.3 * steps))


def save(model: CLIPModel, tokenizer: Tokenizer, curve: list[tuple[int, float]], directory: Path) -> None:
    """Write the checkpoint, with weights rounded to half precision, so that f16 loses nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    model.eval().save_pretrained(directory)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, model_max_length=CONTEXT_LENGTH
    ).save_pretrained(directory)
    CLIPImageProcessorPil(
        size={"shortest_edge": RESIZED_SIDE},
        crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        image_mean=list(MEAN),
        image_std=list(DEVIATION),
    ).save_pretrained(directory)
    (directory / "loss.json").write_text(json.dumps(curve) + "\n", encoding="utf-8")


def bundle(checkpoint: Path, out: Path) -> None:
    """Export the checkpoint to the model directory, with half-precision weights; replaces the old one."""
    with TemporaryDirectory(prefix="tiny-") as folder:
        export_checkpoint(checkpoint, Path(folder) / "f32", Origin("tiny", "trained", note=NOTE))
        shutil.rmtree(out, ignore_errors=True)
        convert_precision(Path(folder) / "f32", out, "f16")


if __name__ == "__main__":
    main()
