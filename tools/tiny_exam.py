"""The exams of `tiny`, on pictures drawn from seeds that training never saw."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_pictures import held_out

from datumaro_clip.demo.catalogue.captions import LANGUAGES, describe
from datumaro_clip.demo.catalogue.painting import draw_item
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, ItemSpec, sample_spec

Vectors = NDArray[np.float32]
EmbedImages = Callable[[Sequence[Image.Image]], Vectors]
EmbedTexts = Callable[[Sequence[str]], Vectors]
GOALS = {
    "text→image recall@1, English": 0.80,
    "text→image recall@1, French": 0.80,
    "zero-shot kind, English": 0.97,
    "zero-shot kind, French": 0.97,
    "zero-shot colour, English": 0.95,
    "zero-shot colour, French": 0.95,
    "zero-shot pattern, English": 0.85,
    "zero-shot pattern, French": 0.85,
    "unseen combinations recall@1, English": 0.65,
    "unseen combinations recall@1, French": 0.65,
}
LANGUAGE_NAMES = {"en": "English", "fr": "French"}


class Exam(NamedTuple):
    """Items with distinct captions, and their vectors."""

    specs: list[ItemSpec]
    images: Vectors


def examine(embed_images: EmbedImages, embed_texts: EmbedTexts, items: int, seed: int) -> dict[str, float]:
    """Measure every figure of ``GOALS``, between 0 and 1, with ``items`` pictures for each of the two exams."""
    usual = _exam(embed_images, items, f"exam/{seed}", lambda attributes: True)
    unseen = _exam(embed_images, items, f"unseen/{seed}", held_out)
    figures = {}
    for language in LANGUAGES:
        name = LANGUAGE_NAMES[language]
        figures[f"text→image recall@1, {name}"] = _recall_at_1(usual, language, embed_texts)
        figures[f"unseen combinations recall@1, {name}"] = _recall_at_1(unseen, language, embed_texts)
        for attribute in ("kind", "colour", "pattern"):
            figures[f"zero-shot {attribute}, {name}"] = _zero_shot(usual, attribute, language, embed_texts)
    return {name: figures[name] for name in GOALS}


def _exam(embed: EmbedImages, items: int, seed: str, fits: Callable[[Mapping[str, str]], bool]) -> Exam:
    """Draw at most ``items`` items that fit, no two with the same full caption, and embed them."""
    specs = list(islice(_specs(random.Random(seed), fits), items))
    blocks = [embed([_picture(spec) for spec in specs[i : i + 50]]) for i in range(0, len(specs), 50)]
    return Exam(specs, np.concatenate(blocks))


def _specs(rng: random.Random, fits: Callable[[Mapping[str, str]], bool]) -> Iterator[ItemSpec]:
    """Yield every item once, in random order, whatever its audience, which most captions do not mention."""
    told = [name for name in ATTRIBUTES if name != "audience"]
    things = list(product(*(ATTRIBUTES[name] for name in told)))
    for values in rng.sample(things, len(things)):
        chosen = dict(zip(told, values, strict=True)) | {"audience": rng.choice(ATTRIBUTES["audience"])}
        if fits(chosen):
            yield sample_spec(rng, chosen)


def _picture(spec: ItemSpec) -> Image.Image:
    """Draw a picture of a catalogue's size: 320 to 640 pixels a side."""
    rng = random.Random(spec.seed)
    short = rng.randint(320, 480)
    return draw_item(spec, (short, min(640, round(short * rng.uniform(1, 1.33)))))


def _recall_at_1(exam: Exam, language: str, embed_texts: EmbedTexts) -> float:
    """Return the share of full captions whose nearest picture is their own."""
    rng = random.Random(f"captions/{language}")
    texts = embed_texts([describe(spec.attributes, language, rng) for spec in exam.specs])
    return float(np.mean((texts @ exam.images.T).argmax(axis=1) == np.arange(len(texts))))


def _zero_shot(exam: Exam, attribute: str, language: str, embed_texts: EmbedTexts) -> float:
    """Return the share of pictures whose nearest prompt, "a mug", "a blue object", ..., names the right value."""
    values = ATTRIBUTES[attribute]
    prompts = embed_texts([describe({attribute: value}, language) for value in values])
    right = [values.index(getattr(spec, attribute)) for spec in exam.specs]
    return float(np.mean((exam.images @ prompts.T).argmax(axis=1) == right))
