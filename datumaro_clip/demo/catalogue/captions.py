"""Writes captions of a picture, in English and in French."""

from __future__ import annotations

import random
from collections.abc import Mapping
from operator import itemgetter

from datumaro_clip.demo.catalogue import english, french
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, ItemSpec

_DESCRIBE = {"en": english.describe, "fr": french.describe}
LANGUAGES = tuple(_DESCRIBE)


def describe(attributes: Mapping[str, str], language: str, rng: random.Random | None = None) -> str:
    """Write a caption that mentions ``attributes`` and nothing else.

    Parameters
    ----------
    attributes
        Any of ``spec.ATTRIBUTES``, with its value. An ``audience`` of "anyone" is not mentioned.
    language
        "en" or "fr".
    rng
        Chooses among synonyms and openings; if None, the first of each is taken.
    """
    return _DESCRIBE[language](attributes, rng.choice if rng else itemgetter(0))


def captions(spec: ItemSpec, rng: random.Random) -> list[str]:
    """Write captions of ``spec``: all attributes in English and in French, and at times some of them once more."""
    told = [describe(spec.attributes, language, rng) for language in LANGUAGES]
    if rng.random() < 0.5:
        told.append(describe(some_of(spec.attributes, rng), rng.choice(LANGUAGES), rng))
    return told


def some_of(attributes: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """Choose one to four of those ``attributes`` that captions mention."""
    names = [name for name in ATTRIBUTES if attributes[name] != "anyone"]
    chosen = rng.sample(names, rng.choice((1, 1, 2, 2, 3, 4)))
    return {name: attributes[name] for name in names if name in chosen}
