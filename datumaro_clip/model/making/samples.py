"""What a model is calibrated and judged on: pictures, and whatever texts and labels belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datumaro_clip.images import ImageLike


@dataclass(frozen=True)
class Sample:
    """One picture of the user's data.

    Attributes
    ----------
    picture : ImageLike
    captions : tuple of str
        What was said of it; may be empty.
    label : str or None
        The name of its class, where it has exactly one.
    """

    picture: ImageLike
    captions: tuple[str, ...] = ()
    label: str | None = None


def texts_of(samples: Sequence[Sample], prompt: str = "a photo of a {}") -> list[str]:
    """The first caption of each sample; where there are none at all, their labels through the prompt."""
    captions = [sample.captions[0] for sample in samples if sample.captions]
    labels = dict.fromkeys(prompt.format(sample.label) for sample in samples if sample.label)
    return captions or list(labels)
