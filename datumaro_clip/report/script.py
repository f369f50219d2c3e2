"""Join the page's modules into one script, since a page opened from a disk cannot import any."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import (?:\* as (\w+)|\{([^}]*)\}) from "([^"]+)";\n', re.M)
_DECLARED = re.compile(r"^export (?=(?:async )?function\*? (\w+)|const (\w+)|class (\w+))", re.M)
_LISTED = re.compile(r"export\s*\{([^}]*)\};?\s*$")


def join_modules(entry: Path) -> str:
    """Join a module and all that it imports into one script, each in a function of its own.

    Parameters
    ----------
    entry : Path
        The modules mark exports where they are defined, or list them at the end; they import names or whole modules
        from relative paths, and do not change exports later.

    Returns
    -------
    str
        The script; each module comes once, after those that it imports.
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
    """Make the body of a function that runs a module and returns its exports by name."""
    names = [next(filter(None, found.groups())) for found in _DECLARED.finditer(source)]
    source = _DECLARED.sub("", source)
    if listed := _LISTED.search(source):
        pairs = [each.strip().partition(" as ") for each in listed[1].split(",") if each.strip()]
        names += [f"{outer or inner}: {inner}" for inner, _, outer in pairs]
        source = source[: listed.start()]
    return f"{source.rstrip()}\nreturn {{ {', '.join(names)} }};"
