"""Count the lines of code of each part of the package: without blank lines, comments and docstrings.

    python tools/lines.py [FOLDER]

A line counts if a token of code stands on it. Also printed are the numbers of files, of private functions that are used
once, and of file names that several folders share.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# Drawn pictures and the demonstration are not part of the core.
_APART = ("catalogue", "demo")


def code_lines(source: str) -> set[int]:
    """Return the numbers of a module's lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            lines.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def private_functions_used_once(sources: list[str]) -> tuple[int, int]:
    """Return the numbers of all private functions and methods, and of those whose name is read once."""
    defined: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__"):
                defined[node.name] += 1
            elif isinstance(node, ast.Name):
                read[node.id] += 1
            elif isinstance(node, ast.Attribute):
                read[node.attr] += 1
    return sum(defined.values()), sum(count for name, count in defined.items() if read[name] <= count)


def main(folder: Path) -> None:
    """Print the counts of each part, then of the core: all but the catalogue and the demonstration."""
    files = sorted(folder.rglob("*.py"))
    parts: Counter[str] = Counter()
    sources = []
    core = 0
    for file in files:
        source = file.read_text(encoding="utf-8")
        count = len(code_lines(source))
        relative = file.relative_to(folder)
        parts[relative.parts[0]] += count
        if not any(part.startswith(_APART) for part in relative.parts):
            core += count
            sources.append(source)
    for part, count in sorted(parts.items()):
        print(f"{count:7,}  {part}")
    names = Counter(file.name for file in files if file.name != "__init__.py")
    private, once = private_functions_used_once(sources)
    print(f"{core:7,}  the core: without the catalogue and the demonstration")
    print(f"{len(files):7,}  files, of which {sum(len(f.read_text('utf-8').splitlines()) <= 100 for f in files)} "
          "have 100 lines or fewer")  # fmt: skip
    print(f"{private:7,}  private functions, of which {once} are used once")
    print(f"{sum(1 for count in names.values() if count > 1):7,}  file names that several folders share")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "datumaro_clip")
