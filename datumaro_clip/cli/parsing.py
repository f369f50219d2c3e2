"""The parser of every command: a word that it does not know is answered with the nearest that it does."""

from __future__ import annotations

import argparse
from typing import Any

from datumaro_clip.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests options and choices.

    A command's parser refuses what it does not know itself: the whole line's would not know the command's options.
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
