"""What is said of drawn things must be true of them, and be English and French."""

from __future__ import annotations

import random
import re

import pytest

from datumaro_clip.demo.catalogue import french
from datumaro_clip.demo.catalogue.captions import LANGUAGES, captions, describe, some_of
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, KINDS, sample_spec

ARMOIRE = {"kind": "wardrobe", "colour": "blue", "pattern": "stripes", "audience": "children"}
SENTENCES = [
    ({}, "en", "an object"),
    ({}, "fr", "un objet"),
    ({"kind": "umbrella"}, "en", "an umbrella"),
    ({"colour": "orange"}, "en", "an orange object"),
    (ARMOIRE, "en", "a blue striped wardrobe for children"),
    (ARMOIRE, "fr", "une armoire bleue à rayures pour enfant"),
    ({"kind": "bag", "colour": "white", "size": "small"}, "fr", "un petit sac blanc"),
    ({"kind": "shoe", "colour": "brown", "pattern": "plain"}, "fr", "une chaussure marron unie"),
    ({"kind": "chair", "colour": "purple", "background": "lawn"}, "fr", "une chaise violette sur une pelouse"),
    ({"kind": "kite", "pattern": "stars"}, "fr", "un cerf-volant à étoiles"),
]
FEMININE = re.compile(r"\b(verte|bleue|violette|noire|blanche|unie|rayée|étoilée|petite|grande)\b")
MASCULINE = re.compile(r"\b(vert|bleu|violet|noir|blanc|uni|rayé|étoilé|petit|grand)\b(?! [lf])")


@pytest.mark.parametrize(("attributes", "language", "sentence"), SENTENCES)
def test_the_plain_form_reads_as_a_person_would_write_it(
    attributes: dict[str, str], language: str, sentence: str
) -> None:
    assert describe(attributes, language) == sentence


def test_every_word_has_a_translation() -> None:
    """A value without words would fail only when chance picks it."""
    for name, values in ATTRIBUTES.items():
        for value in values:
            assert all(describe({name: value}, language) for language in LANGUAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_french_adjectives_agree_with_their_noun(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(60):
        spec = sample_spec(rng)
        told = {"kind": kind, "colour": spec.colour, "size": spec.size}
        for word, feminine in ((noun.rpartition(" ")[0], noun.endswith(" f")) for noun in french.NOUNS[kind]):
            sentence = french.describe(told, lambda choices, word=word: _prefer(choices, word))
            assert not (MASCULINE if feminine else FEMININE).search(sentence), sentence


def _prefer(choices: tuple[str, ...], word: str) -> str:
    """The choice that is ``word`` with its gender, else the first."""
    return next((choice for choice in choices if choice[:-2] == word), choices[0])


def test_french_articles_are_elided_before_vowels_only() -> None:
    rng = random.Random(0)
    for _ in range(2_000):
        sentence = describe(some_of(sample_spec(rng).attributes, rng), "fr", rng)
        assert not re.match(r"(le|la|ce) [aeiouéh]", sentence), sentence
        assert not re.match(r"(l'|cet )[^aeiouéh]", sentence), sentence
        assert not re.search(r"\b(de|une|un) (un|une)\b", sentence), sentence


def test_the_ink_is_named_in_the_plural_and_in_its_gender() -> None:
    rng = random.Random(1)
    told = {"kind": "mug", "colour": "blue", "pattern": "stripes"}
    sentences = {describe(told, "fr", rng) for _ in range(300)}
    assert any("rayures blanches" in sentence for sentence in sentences)
    assert not any("rayures blancs" in sentence or "rayures blanche " in sentence for sentence in sentences)


def test_a_picture_has_two_or_three_captions_in_both_languages() -> None:
    rng = random.Random(2)
    counts = {len(captions(sample_spec(rng), rng)) for _ in range(50)}
    assert counts == {2, 3}


def test_a_caption_never_speaks_of_an_audience_that_has_no_badge() -> None:
    rng = random.Random(3)
    attributes = sample_spec(rng).attributes | {"audience": "anyone"}
    for _ in range(200):
        assert "audience" not in some_of(attributes, rng)
        assert "enfant" not in describe(attributes, "fr", rng)
