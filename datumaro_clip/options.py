"""Options, each declared once in a table: the command line, Python's keywords, the checks and the docs read it."""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from datumaro_clip.errors import OptionError

#: The values of a table's options, by their Python names, as attributes.
Values = SimpleNamespace


@dataclass(frozen=True)
class Kind:
    """The kind of values that an option takes; a subclass says which.

    Attributes
    ----------
    metavar : str or None
        Placeholder for the value in the help of the command line.
    """

    metavar: str | None = None

    def parse(self, text: str) -> Any:
        """Parse a word of the command line; raise :class:`ValueError` if it is no such value."""
        return text

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, as ``must be at least 1``; None for one that can be used."""
        return None if isinstance(value, str) else "must be a text"

    def describe(self) -> dict[str, Any]:
        """Describe the kind as JSON: ``type`` and bounds."""
        return {"type": "text"}

    def located(self, value: Any, folder: Path) -> Any:
        """Resolve a value that a file in a folder names: a relative path starts from that folder."""
        return value


@dataclass(frozen=True)
class Text(Kind):
    """A text; ``check`` returns what is wrong with it, or None."""

    check: Callable[[str], str | None] = lambda text: None

    def problem(self, value: Any) -> str | None:
        return super().problem(value) or self.check(value)


@dataclass(frozen=True)
class File(Kind):
    """A path."""

    metavar: str | None = "FILE"

    def problem(self, value: Any) -> str | None:
        return None if isinstance(value, str) or hasattr(value, "__fspath__") else "must be a path"

    def located(self, value: Any, folder: Path) -> Any:
        return os.fspath(folder / Path(value).expanduser())

    def describe(self) -> dict[str, Any]:
        return {"type": "path"}


@dataclass(frozen=True)
class Number(Kind):
    """A finite number in a range; ``above`` excludes the lower bound itself."""

    at_least: float | None = None
    at_most: float | None = None
    above: bool = False
    whole = False

    def parse(self, text: str) -> Any:
        return float(text)

    def problem(self, value: Any) -> str | None:
        types = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, types):
            return "must be a whole number" if self.whole else "must be a number"
        low, high = self.at_least, self.at_most
        is_below = low is not None and not (value > low if self.above else value >= low)
        if is_below or (high is not None and not value <= high) or not math.isfinite(value):
            return f"must be {self._range()}{', and finite' if math.isinf(value) and high is None else ''}"
        return None

    def describe(self) -> dict[str, Any]:
        bound = "exclusiveMinimum" if self.above else "minimum"
        bounds = {bound: self.at_least, "maximum": self.at_most}
        return {"type": "integer" if self.whole else "number"} | {k: v for k, v in bounds.items() if v is not None}

    def _range(self) -> str:
        low, high = self.at_least, self.at_most
        if low is None:
            return "finite"
        if high is None:
            return f"above {low:g}" if self.above else f"at least {low:g}"
        return f"above {low:g} and at most {high:g}" if self.above else f"from {low:g} to {high:g}"


@dataclass(frozen=True)
class Whole(Number):
    """A whole number in a range; with ``auto``, the command line also takes ``auto`` for None."""

    auto: bool = False
    whole = True

    def parse(self, text: str) -> Any:
        if self.auto and text == "auto":
            return None
        return int(text)


@dataclass(frozen=True)
class Cosine(Number):
    """A cosine similarity, from -1 to 1."""

    at_least: float | None = -1.0
    at_most: float | None = 1.0
    metavar: str | None = "COSINE"


@dataclass(frozen=True)
class Share(Number):
    """A share or a probability, from 0 to 1."""

    at_least: float | None = 0.0
    at_most: float | None = 1.0
    metavar: str | None = "SHARE"


@dataclass(frozen=True)
class Choice(Kind):
    """One of some names."""

    names: tuple[str, ...] = ()

    def problem(self, value: Any) -> str | None:
        return None if isinstance(value, str) and value in self.names else f"must be one of {', '.join(self.names)}"

    def describe(self) -> dict[str, Any]:
        return {"type": "choice", "choices": list(self.names)}


@dataclass(frozen=True)
class Flag(Kind):
    """True or False; on the command line the option's name alone inverts the default."""

    def problem(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else "must be True or False"

    def describe(self) -> dict[str, Any]:
        return {"type": "flag"}


@dataclass(frozen=True)
class Several(Kind):
    """One value or more of one kind; a single one may stand for a list of one."""

    of: Kind = Text()

    def parse(self, text: str) -> Any:
        return self.of.parse(text)

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, tuple):
            return "must be a list"
        return next((found for each in value if (found := self.of.problem(each))), None)

    def describe(self) -> dict[str, Any]:
        return {"type": "list", "items": self.of.describe()}


@dataclass(frozen=True)
class Option:
    """One option of a tool.

    Attributes
    ----------
    name : str
        As the command line has it, without its dashes: ``min-score``.
    kind : Kind
        What values it takes.
    default : object
        Its value where it is not given; None where the tool finds one then, or does without.
    help : str
        What it does, for people, in a few words; the default is added.
    unset : str
        What happens where the default is None.
    changes : str
        What the option changes: ``result``, ``speed``, or ``report`` (files and log lines, not decisions).
    former : str
        An earlier name of the option, which is accepted with a warning.
    keyword : str
        Its name in Python; ``name`` with underscores where empty.
    group : str
        Its heading in the help.
    variable : str
        The environment variable that is read where the option is not given.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    unset: str = ""
    changes: str = "result"
    former: str = ""
    keyword: str = ""
    group: str = "options"
    variable: str = ""

    @property
    def python_name(self) -> str:
        """Its keyword in Python."""
        return self.keyword or self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """Its spelling on the command line."""
        return f"-{self.name}" if len(self.name) == 1 else f"--{self.name}"

    @property
    def told_default(self) -> str:
        """The default as the help and the docs show it; empty for a flag."""
        return self._default_text(self.default)

    def checked(self, value: Any) -> Any:
        """Check a value and return it as the tool gets it: lists and single values of a list as tuples.

        Raises
        ------
        OptionError
            If it cannot be used; the message names the option, what it must be, and the value.
        """
        if value is None and self.default is None:
            return None
        if isinstance(self.kind, Several):
            value = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | set) else value
        if problem := self.kind.problem(value):
            raise OptionError(f"{self.flag} {problem}, got {value!r}")
        return value

    def add_to(self, parser: Any, defaults: Mapping[str, Any]) -> None:
        """Add it to an :class:`argparse.ArgumentParser`, or to a group of one; see :func:`add_options`."""
        default = defaults.get(self.name, self.default)
        text = f"{self.help} (default: {self._default_text(default)})" if self._default_text(default) else self.help
        names = (self.flag, f"--{self.former}") if self.former else (self.flag,)
        common: dict[str, Any] = {"dest": self.python_name, "default": default, "help": text.replace("%", "%%")}
        if isinstance(self.kind, Flag):
            parser.add_argument(*names, **common, action=_Renamed, nargs=0, const=not self.default)
            return
        one = self.kind.of if isinstance(self.kind, Several) else self.kind
        common |= {"choices": one.names} if isinstance(one, Choice) else {"metavar": one.metavar}
        common |= {"nargs": "+"} if isinstance(self.kind, Several) else {}
        common |= {"action": _Renamed} if self.former else {}
        parser.add_argument(*names, **common, type=_argument(one))

    def _default_text(self, default: Any) -> str:
        if isinstance(self.kind, Flag):
            return ""
        values = map(str, default if isinstance(default, tuple) else (default,))
        return self.unset if default in (None, ()) else " ".join(f"'{one}'" if " " in one else one for one in values)

    def describe(self) -> dict[str, Any]:
        """Describe the option as JSON, for forms: name, keyword, kind, default, help."""
        default = list(self.default) if isinstance(self.default, tuple) else self.default
        description = {"name": self.name, "keyword": self.python_name, "default": default, "help": self.help}
        return description | {"unset": self.unset, "changes": self.changes, "group": self.group, **self.kind.describe()}


def read_options(
    table: Sequence[Option], given: Mapping[str, Any], owner: str, warn: Callable[[str], None] = lambda text: None
) -> Values:
    """Check what was given against a table, and fill in the defaults.

    Parameters
    ----------
    table : sequence of Option
    given : mapping
        Values by Python name.
    owner : str
        Whose options they are, for the message.
    warn : callable
        Called with a message where a former name is used.

    Raises
    ------
    OptionError
        If there is no such option, or a value cannot be used.
    """
    by_name = {option.python_name: option for option in table}
    former = {option.former.replace("-", "_"): option for option in table if option.former}
    values = {name: option.default for name, option in by_name.items()}
    if unknown := sorted(set(given) - {*by_name, *former}):
        raise OptionError(f"{owner} has no option {', '.join(unknown)}")
    for name, value in given.items():
        option = by_name.get(name) or former[name]
        if name not in by_name:
            warn(f"{owner}: {name} is now called {option.python_name}; the old name goes with the next release")
        values[option.python_name] = option.checked(value)
    return Values(**values)


def add_options(
    parser: argparse.ArgumentParser, table: Sequence[Option], defaults: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Add a table's options to a parser, each under its group.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    table : sequence of Option
    defaults : mapping
        By the option's name, as ``min-score``: values that replace the table's own defaults.
    """
    groups: dict[str, Any] = {"options": parser}
    for option in table:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        option.add_to(groups[option.group], defaults)


class _Renamed(argparse.Action):
    """Accept an option or a flag under its former name too, with a warning."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if option_string not in (None, self.option_strings[0]):
            warning = f"{option_string} is now called {self.option_strings[0]}; the old name goes with the next release"
            logging.getLogger(__name__).warning("%s", warning)
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)


def _argument(kind: Kind) -> Callable[[str], Any]:
    """Wrap the kind's ``parse`` so that argparse shows what was wanted."""

    def parse(text: str) -> Any:
        try:
            return kind.parse(text)
        except ValueError as exc:
            wanted = "a whole number" if isinstance(kind, Whole) else "a number"
            more = " or auto" if isinstance(kind, Whole) and kind.auto else ""
            raise argparse.ArgumentTypeError(f"wanted {wanted}{more}, got {text!r}") from exc

    return parse
