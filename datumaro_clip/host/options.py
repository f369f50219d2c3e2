"""The options that every plugin shares which may have to compute vectors, on a plugin's parser."""

from __future__ import annotations

import argparse

from datumaro_clip.curate.options import add_options
from datumaro_clip.curate.vector_options import PROMPT_OPTION, TEXTS_OPTION, VECTOR_OPTIONS, EmbeddingOptions
from datumaro_clip.errors import OptionError

__all__ = ["EmbeddingOptions", "add_embedding_options", "require_choice"]


def add_embedding_options(parser: argparse.ArgumentParser, *, overwrite: bool = False) -> None:
    """Declare the options of :class:`EmbeddingOptions` on a plugin's parser, ``--overwrite`` only where asked."""
    shown = [option for option in VECTOR_OPTIONS if overwrite or option.name != "overwrite"]
    add_options(parser, [*shown, TEXTS_OPTION, PROMPT_OPTION])


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`OptionError` unless an option's value is one of its choices."""
    if value not in choices:
        raise OptionError(f"--{option.replace('_', '-')} must be one of {', '.join(choices)}; got {value!r}")
