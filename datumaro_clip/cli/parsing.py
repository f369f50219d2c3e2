"""The parser of every command, the types of its arguments, and options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from datumaro_clip.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a word that it does not know with the nearest that it does.

    A command's parser refuses what it does not know itself: that of the whole line would not know the command's
    options.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; more than the parser knows is wrong usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            hints = "".join(did_you_mean(option, self._option_string_actions) for option in options[:1])
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hints}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices."""
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            hint = did_you_mean(str(value), known) or f"; choose from {', '.join(known)}"
            raise argparse.ArgumentError(action, f"there is no {value!r}{hint}")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of a whole number from ``least`` on."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"wanted a whole number from {least} on, got {text!r}")
        return int(text)

    return number


def cosine(text: str) -> float:
    """Read a cosine similarity, from -1 to 1."""
    return _between(text, -1, 1, "a cosine similarity")


def share(text: str) -> float:
    """Read a share or a probability, from 0 to 1."""
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
    """Read a text; an empty one is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_ray(parser: argparse.ArgumentParser, workers: str = "one a processor") -> None:
    """Declare ``--ray`` and ``--workers``."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster: auto or HOST:PORT (default: RAY_ADDRESS, else this machine)",
    )
    parser.add_argument("--workers", type=at_least(1), metavar="N", help=f"with --ray (default: {workers})")
