"""What may be said of a picture, in English and in French."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from datumaro_clip.demo.catalogue import english, french
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, ItemSpec

LANGUAGES = ("en", "fr")
_DESCRIBE = {"en": english.describe, "fr": french.describe}


def describe(attributes: Mapping[str, str], language: str, rng: random.Random | None = None) -> str:
    """A caption that speaks of ``attributes`` and of nothing else.

    Parameters
    ----------
    attributes
        Any of ``spec.ATTRIBUTES``, with its value. An ``audience`` of "anyone" goes without saying.
    language
        "en" or "fr".
    rng
        Chooses among synonyms and openings; where None, the first of each is taken.
    """
    return _DESCRIBE[language](attributes, rng.choice if rng else _first)


def captions(spec: ItemSpec, rng: random.Random) -> list[str]:
    """Two or three captions of ``spec``: all of it in English and in French, and at times part of it."""
    told = [describe(spec.attributes, language, rng) for language in LANGUAGES]
    if rng.random() < 0.5:
        told.append(describe(some_of(spec.attributes, rng), rng.choice(LANGUAGES), rng))
    return told


def some_of(attributes: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    """One to four of those ``attributes`` that can be spoken of, chosen at random."""
    names = [name for name in ATTRIBUTES if attributes[name] != "anyone"]
    chosen = rng.sample(names, rng.choice((1, 1, 2, 2, 3, 4)))
    return {name: attributes[name] for name in names if name in chosen}


def _first(choices: Sequence[str]) -> str:
    return choices[0]
