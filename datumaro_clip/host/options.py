"""The options that every plugin shares which may have to compute vectors, on a plugin's parser."""

from __future__ import annotations

import argparse
import math

from datumaro_clip.curate.options import add_options
from datumaro_clip.curate.vector_options import PROMPT_OPTION, TEXTS_OPTION, VECTOR_OPTIONS, EmbeddingOptions
from datumaro_clip.errors import OptionError

__all__ = ["EmbeddingOptions", "add_embedding_options", "require_choice", "require_range"]


def add_embedding_options(parser: argparse.ArgumentParser, *, overwrite: bool = False) -> None:
    """Declare the options of :class:`EmbeddingOptions` on a plugin's parser, ``--overwrite`` only where asked."""
    shown = [option for option in VECTOR_OPTIONS if overwrite or option.name != "overwrite"]
    add_options(parser, [*shown, TEXTS_OPTION, PROMPT_OPTION])


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`OptionError` unless an option's value is one of its choices."""
    if value not in choices:
        raise OptionError(f"--{option.replace('_', '-')} must be one of {', '.join(choices)}; got {value!r}")


def require_range(option: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Raise :class:`OptionError` unless an option's value is finite and in its range, or the option is not given."""
    if value is not None and not (low <= value <= high and math.isfinite(value)):
        flag = f"-{option}" if len(option) == 1 else f"--{option.replace('_', '-')}"
        wanted = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise OptionError(f"{flag} must be {wanted}{', and finite' if math.isinf(value) else ''}, got {value}")
