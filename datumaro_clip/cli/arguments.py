"""Values of arguments, refused before anything is done with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """A whole number from ``least`` on."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"wanted a whole number from {least} on, got {text!r}")
        return int(text)

    return number


def cosine(text: str) -> float:
    """A cosine similarity, from -1 to 1."""
    return _between(text, -1, 1, "a cosine similarity")


def share(text: str) -> float:
    """A share or a probability, from 0 to 1."""
    return _between(text, 0, 1, "a share")


def _between(text: str, low: float, high: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"wanted {what}, from {low:g} to {high:g}, got {text!r}")
    return value


def some_text(text: str) -> str:
    """A text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
