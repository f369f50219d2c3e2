"""Hooks of the documentation's site (mkdocs.yml)."""

from __future__ import annotations

import re

_IN_CODE = re.compile(r"`[^`\n]*`")
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>(?:~(?:\w+\.)*)?")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Take ``\\|`` in a table's code for ``|``, as everybody else does."""
    return _IN_CODE.sub(lambda found: found[0].replace("\\|", "|"), markdown)


def on_page_content(html: str, **_: object) -> str:
    """Show the names that docstrings mark by a role as code alone."""
    return _ROLE.sub("<code>", html)
