"""French: the words for every attribute, their gender and number, and their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Pick = Callable[[Sequence[str]], str]


class Noun(NamedTuple):
    """A noun, and whether it is feminine."""

    word: str
    feminine: bool


NOUNS: dict[str, tuple[str, ...]] = {
    "ball": ("ballon m",),
    "bag": ("sac m", "sac à main m"),
    "bottle": ("bouteille f", "gourde f"),
    "bucket": ("seau m",),
    "chair": ("chaise f",),
    "clock": ("horloge f", "réveil m"),
    "guitar": ("guitare f",),
    "hat": ("chapeau m",),
    "kite": ("cerf-volant m",),
    "lamp": ("lampe f", "lampe de table f"),
    "mug": ("tasse f", "mug m"),
    "shoe": ("chaussure f", "basket f"),
    "sock": ("chaussette f",),
    "sofa": ("canapé m",),
    "t-shirt": ("tee-shirt m", "T-shirt m"),
    "teapot": ("théière f",),
    "torch": ("lampe torche f", "torche f"),
    "umbrella": ("parapluie m",),
    "vase": ("vase m",),
    "wardrobe": ("armoire f",),
}
THING = ("objet m", "article m", "chose f")
COLOURS: dict[str, tuple[str, str]] = {
    "red": ("rouge", "rouge"),
    "orange": ("orange", "orange"),
    "yellow": ("jaune", "jaune"),
    "green": ("vert", "verte"),
    "blue": ("bleu", "bleue"),
    "purple": ("violet", "violette"),
    "pink": ("rose", "rose"),
    "brown": ("marron", "marron"),
    "black": ("noir", "noire"),
    "white": ("blanc", "blanche"),
}
PATTERN_ADJECTIVES: dict[str, tuple[str, str]] = {
    "plain": ("uni", "unie"),
    "stripes": ("rayé", "rayée"),
    "stars": ("étoilé", "étoilée"),
}
PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "stripes": ("rayures f",),
    "dots": ("pois m",),
    "checks": ("carreaux m",),
    "zigzag": ("zigzags m", "chevrons m"),
    "stars": ("étoiles f",),
}
#: Colours of a pattern, in the plural: on coloured things, and on white ones.
INKS = (("blancs", "blanches"), ("gris", "grises"))
SIZES: dict[str, tuple[str, str]] = {"small": ("petit", "petite"), "large": ("grand", "grande")}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "studio": ("sur fond blanc", "sur un fond blanc"),
    "parquet": ("sur un parquet", "sur un parquet en bois"),
    "lawn": ("sur une pelouse", "sur l'herbe", "dans un jardin"),
    "brick": ("devant un mur de briques", "contre un mur de briques"),
}
FOR_CHILDREN = ("pour enfant", "pour enfants")
OPENINGS = ("{a}", "{bare}", "une photo {of_a}", "une image {of_a}", "photo {of_a}", "voici {a}", "{the}", "{this}")


def describe(attributes: Mapping[str, str], pick: Pick) -> str:
    """Write the caption of a thing with these ``attributes``; others are not mentioned."""
    noun = _noun(NOUNS[attributes["kind"]] if "kind" in attributes else THING, pick)
    words = [SIZES[attributes["size"]][noun.feminine]] if "size" in attributes else []
    words.append(noun.word)
    words += [COLOURS[attributes["colour"]][noun.feminine]] if "colour" in attributes else []
    words += _pattern(attributes, noun, pick)
    if attributes.get("audience") == "children":
        words.append(pick(FOR_CHILDREN))
    if "background" in attributes:
        words.append(pick(BACKGROUNDS[attributes["background"]]))
    return _open(" ".join(words), noun, pick)


def _noun(choices: Sequence[str], pick: Pick) -> Noun:
    """Pick one of several nouns, each with its gender, ``m`` or ``f``, behind it."""
    word, _, gender = pick(choices).rpartition(" ")
    return Noun(word, gender == "f")


def _pattern(attributes: Mapping[str, str], noun: Noun, pick: Pick) -> list[str]:
    """Return the pattern's words, which follow the colour."""
    pattern = attributes.get("pattern")
    if pattern is None:
        return []
    named = pattern in PATTERN_NOUNS and not (pattern in PATTERN_ADJECTIVES and pick(("noun", "")) == "")
    if not named:
        return [PATTERN_ADJECTIVES[pattern][noun.feminine]]
    word, feminine = _noun(PATTERN_NOUNS[pattern], pick)
    if "colour" not in attributes or not pick(("", "ink")):
        return ["à", word]
    return ["à", word, INKS[attributes["colour"] == "white"][feminine]]


def _open(phrase: str, noun: Noun, pick: Pick) -> str:
    """Put an opening before ``phrase``, with an article that is elided where it must be."""
    vowel = phrase[0].lower() in "aeiouéh"
    a = f"{'une' if noun.feminine else 'un'} {phrase}"
    the = f"l'{phrase}" if vowel else f"{'la' if noun.feminine else 'le'} {phrase}"
    masculine_this = "cet" if vowel else "ce"
    this = f"{'cette' if noun.feminine else masculine_this} {phrase}"
    return pick(OPENINGS).format(a=a, bare=phrase, of_a=f"d'{a}", the=the, this=this)
