"""The page's modules as one script: a file opened from a disk can import none, and a policy names one hash."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import (?:\* as (\w+)|\{([^}]*)\}) from "([^"]+)";\n', re.M)
_DECLARED = re.compile(r"^export (?=(?:async )?function\*? (\w+)|const (\w+)|class (\w+))", re.M)
_LISTED = re.compile(r"export\s*\{([^}]*)\};?\s*$")


def join_modules(entry: Path) -> str:
    """A module and all that it imports as one script, each in a function of its own.

    Parameters
    ----------
    entry : Path
        Modules that it reaches declare what they export where it is defined, or list it at their end; what they
        import are single names, or a whole module, from relative paths; none changes an export later.

    Returns
    -------
    str
        The script; each module stands once, behind those that it imports.
    """
    numbers: dict[Path, int] = {}
    parts: list[str] = []

    def add(path: Path) -> int:
        if path not in numbers:
            source = _IMPORT.sub(
                lambda found: _imported(found, add((path.parent / found[3]).resolve())), path.read_text("utf-8")
            )
            numbers[path] = len(numbers)
            parts.append(f"const m{numbers[path]} = (() => {{\n{_returning(source)}\n}})();\n")
        return numbers[path]

    add(entry.resolve())
    return '"use strict";\n' + "".join(parts)


def _imported(found: re.Match[str], number: int) -> str:
    whole, names, _ = found.groups()
    return f"const {whole or '{' + names.replace(' as ', ': ') + '}'} = m{number};\n"


def _returning(source: str) -> str:
    """The body of a function that runs a module and returns its exports by name."""
    names = [next(filter(None, found.groups())) for found in _DECLARED.finditer(source)]
    source = _DECLARED.sub("", source)
    if listed := _LISTED.search(source):
        pairs = [each.strip().partition(" as ") for each in listed[1].split(",") if each.strip()]
        names += [f"{outer or inner}: {inner}" for inner, _, outer in pairs]
        source = source[: listed.start()]
    return f"{source.rstrip()}\nreturn {{ {', '.join(names)} }};"
