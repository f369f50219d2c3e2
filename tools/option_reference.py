"""Write docs/options.md, the reference of every curation tool's options, from the tables that declare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datumaro_clip.curate import integrity
from datumaro_clip.curate.objects import TOOL_OPTIONS
from datumaro_clip.curate.run import COMMON_OPTIONS
from datumaro_clip.curate.tools import MODULES, tool_named
from datumaro_clip.curate.vector_options import VECTOR_OPTIONS
from datumaro_clip.options import Choice, Flag, Option, Several

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
_HEAD = """# Options of the curation tools

Every option of every curation tool; `datum-clip help clip_dedup` prints those of one tool. [Curation](curation.md)
explains how the tools decide.

In Python an option is a keyword with underscores for dashes; `--except` is `except_file`, `--no-self-check` is
`self_check=False`. Invalid values are refused before a picture is read.

`python tools/option_reference.py` writes this page from the tables that also make the command line and the checks."""
# Names that a cell of a table has room for.
_ROOM = 6


def reference(table: Sequence[Option]) -> str:
    """A table's options as a table in Markdown."""
    rows = ["| option | default | what it does |", "| --- | --- | --- |"]
    for option in table:
        kind = option.kind.of if isinstance(option.kind, Several) else option.kind
        names = kind.names if isinstance(kind, Choice) else ()
        value = kind.metavar or option.name.rpartition("-")[2].upper()
        value = f"{{{','.join(names)}}}" if 0 < len(names) <= _ROOM else value
        value = "" if isinstance(kind, Flag) else f" {value}{'…' if isinstance(option.kind, Several) else ''}"
        told = [option.help, f"one of {', '.join(names)}" if len(names) > _ROOM else ""]
        told += [f"formerly `--{option.former}`" if option.former else ""]
        told += ["changes the speed, not the result" if option.changes == "speed" else ""]
        cells = (f"`{option.flag}{value}`", option.told_default, "; ".join(filter(None, told)))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    for name in MODULES:
        tool = tool_named(name)
        parts += [f"## {name}", tool.summary.split("\n\n")[0]]
        parts += [reference(tool.options)]
    parts += ["## clip_integrity", reference(integrity.OPTIONS)]
    parts += ["## All curation transforms", reference(COMMON_OPTIONS)]
    with_objects = ", ".join(f"`{name}`" for name in MODULES if tool_named(name).takes_objects)
    parts += [
        "## Tools that work on objects",
        f"{with_objects} work on objects with `--objects`.",
        reference(TOOL_OPTIONS),
    ]
    with_model = ", ".join(f"`{name}`" for name in MODULES if not tool_named(name).uses_model)
    parts += ["## Vectors", f"All tools but {with_model} have these options.", reference(VECTOR_OPTIONS)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
