"""English: the words for every attribute, and their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Pick = Callable[[Sequence[str]], str]

NOUNS: dict[str, tuple[str, ...]] = {
    "ball": ("ball",),
    "bag": ("bag", "handbag"),
    "bottle": ("bottle",),
    "bucket": ("bucket", "pail"),
    "chair": ("chair",),
    "clock": ("clock", "alarm clock"),
    "guitar": ("guitar",),
    "hat": ("hat",),
    "kite": ("kite",),
    "lamp": ("lamp", "table lamp"),
    "mug": ("mug", "cup"),
    "shoe": ("shoe", "trainer"),
    "sock": ("sock",),
    "sofa": ("sofa", "couch"),
    "t-shirt": ("T-shirt", "tee shirt"),
    "teapot": ("teapot",),
    "torch": ("torch", "flashlight"),
    "umbrella": ("umbrella",),
    "vase": ("vase",),
    "wardrobe": ("wardrobe",),
}
THING = ("object", "thing", "item")
PATTERN_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "stripes": ("striped", "stripy"),
    "dots": ("dotted", "polka-dot", "spotted"),
    "checks": ("checked", "gingham", "chequered"),
    "zigzag": ("zigzag", "zigzag-patterned"),
    "stars": ("starry", "star-patterned"),
}
PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "stripes": ("stripes",),
    "dots": ("dots", "polka dots"),
    "checks": ("checks",),
    "zigzag": ("zigzags",),
    "stars": ("stars",),
}
SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "studio": ("on a white background",),
    "parquet": ("on a wooden floor", "on a parquet floor"),
    "lawn": ("on a lawn", "on the grass", "in a garden"),
    "brick": ("in front of a brick wall", "against a brick wall"),
}
FOR_CHILDREN = ("for children", "for kids")
OPENINGS = ("{a}", "{bare}", "a photo of {a}", "a picture of {a}", "photo of {a}", "this is {a}", "the {bare}")


def describe(attributes: Mapping[str, str], pick: Pick) -> str:
    """Write the caption of a thing with these ``attributes``; others are not mentioned."""
    before = [pick(SIZES[attributes["size"]])] if "size" in attributes else []
    before += [attributes["colour"]] if "colour" in attributes else []
    adjective, after = _pattern(attributes, pick)
    noun = pick(NOUNS[attributes["kind"]] if "kind" in attributes else THING)
    words = [*before, *adjective, noun, *after]
    if attributes.get("audience") == "children":
        words.append(pick(FOR_CHILDREN))
    if "background" in attributes:
        words.append(pick(BACKGROUNDS[attributes["background"]]))
    phrase = " ".join(words)
    article = "an" if phrase[0].lower() in "aeiou" else "a"
    return pick(OPENINGS).format(a=f"{article} {phrase}", bare=phrase)


def _pattern(attributes: Mapping[str, str], pick: Pick) -> tuple[list[str], list[str]]:
    """Return the pattern's words before the noun and after it; one of the two is empty."""
    pattern = attributes.get("pattern")
    if pattern is None:
        return [], []
    adjectives = [pick(PATTERN_ADJECTIVES[pattern])]
    if pattern == "plain" or pick(("before", "after")) == "before":
        return adjectives, []
    ink = ["grey"] if attributes.get("colour") == "white" else ["white"]
    told = ink if "colour" in attributes and pick(("", "ink")) else []
    return [], ["with", *told, pick(PATTERN_NOUNS[pattern])]
