"""A progress bar where somebody sees it."""

from __future__ import annotations

import sys

from tqdm.auto import tqdm

from datumaro_clip.system.streams import is_notebook, is_terminal


def progress(total: int | None, unit: str = "item", doing: str = "Embedding") -> tqdm:
    """A progress bar on standard error, or in a notebook's cell; silent where neither is."""
    is_seen = is_notebook() or is_terminal(sys.stderr)
    return tqdm(total=total, unit=unit, desc=doing, disable=not is_seen, leave=False)
