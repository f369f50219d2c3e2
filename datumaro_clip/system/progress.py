"""A progress bar, shown only on a terminal or in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from datumaro_clip.system.terminal import is_notebook, is_terminal

if TYPE_CHECKING:
    from tqdm.auto import tqdm


@contextmanager
def progress(total: int | None, unit: str = "item", doing: str = "Embedding") -> Iterator[tqdm]:
    """Show a progress bar on standard error or in a notebook's cell, or nothing if there is neither.

    On a terminal, log lines are written above the bar.
    """
    # Imported here because it loads asyncio, which most commands do not need.
    from tqdm.auto import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    on_terminal = is_terminal(sys.stderr)
    bar = tqdm(total=total, unit=unit, desc=doing, disable=not (on_terminal or is_notebook()), leave=False)
    with bar, logging_redirect_tqdm() if on_terminal else nullcontext():
        yield bar
