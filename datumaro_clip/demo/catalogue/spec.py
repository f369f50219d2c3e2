"""Specifies what one picture of the catalogue shows, and chooses such specifications at random."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from datumaro_clip.demo.catalogue.backdrops import BACKDROPS
from datumaro_clip.demo.catalogue.figures import FIGURES
from datumaro_clip.demo.catalogue.materials import PAINTS, PATTERN_FIELDS

KINDS = tuple(FIGURES)
BACKGROUNDS = tuple(BACKDROPS)
SIZES = ("small", "large")
AUDIENCES = ("anyone", "children")
ATTRIBUTES = {
    "kind": KINDS,
    "colour": tuple(PAINTS),
    "pattern": ("plain", *PATTERN_FIELDS),
    "background": BACKGROUNDS,
    "size": SIZES,
    "audience": AUDIENCES,
}


@dataclass(frozen=True)
class ItemSpec:
    """Everything that determines a drawn picture except its size in pixels.

    Attributes
    ----------
    kind, colour, pattern, background, size, audience
        One of ``ATTRIBUTES[name]`` each; captions describe them.
    angle
        Rotation in degrees, clockwise.
    centre
        The middle of the figure, as fractions of width and height.
    scale
        Side of the figure's square over the shorter side of the picture.
    mirrored
        True if left and right are exchanged.
    light, warmth, noise
        Brightness factor, shift from blue to red (-1 to 1), standard deviation of the noise in grey levels.
    seed
        Seed of everything else: the grain of the wood, the place of the bricks, the noise.
    """

    kind: str
    colour: str
    pattern: str
    background: str
    size: str
    audience: str
    angle: float
    centre: tuple[float, float]
    scale: float
    mirrored: bool
    light: float
    warmth: float
    noise: float
    seed: int

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes that captions describe, by name."""
        return {name: getattr(self, name) for name in ATTRIBUTES}


def sample_attributes(rng: random.Random) -> dict[str, str]:
    """Choose a value for each attribute, all equally likely; every third thing is for children."""
    chosen = {name: rng.choice(values) for name, values in ATTRIBUTES.items()}
    chosen["audience"] = rng.choices(AUDIENCES, weights=(2, 1))[0]
    return chosen


def distinct_attributes(rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield attributes as of ``sample_attributes``, each combination once, so that a full caption fits one thing only.

    Combinations that differ in the audience alone count as one, since most captions do not mention it. After 6,000,
    combinations repeat.
    """
    seen: set[tuple[str, ...]] = set()
    while True:
        chosen = sample_attributes(rng)
        key = tuple(value for name, value in chosen.items() if name != "audience")
        if key not in seen or len(seen) > 6_000:
            seen.add(key)
            yield chosen


def sample_spec(rng: random.Random, attributes: dict[str, str] | None = None) -> ItemSpec:
    """Choose a thing to draw.

    Parameters
    ----------
    rng
        The only source of randomness: the same state gives the same spec.
    attributes
        Value of each of ``ATTRIBUTES``; chosen at random where None.
    """
    chosen = attributes or sample_attributes(rng)
    low, high = (0.44, 0.52) if chosen["size"] == "small" else (0.74, 0.86)
    wander = 0.1 if chosen["size"] == "small" else 0.025
    return ItemSpec(
        **chosen,
        angle=rng.uniform(-14, 14),
        centre=(0.5 + rng.uniform(-wander, wander), 0.51 + rng.uniform(-wander, wander)),
        scale=rng.uniform(low, high),
        mirrored=rng.random() < 0.5,
        light=rng.uniform(0.86, 1.08),
        warmth=rng.uniform(-1, 1),
        noise=rng.uniform(0.5, 5),
        seed=rng.getrandbits(32),
    )
