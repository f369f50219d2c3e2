"""Replacements for functions of Datumaro's that fail on sound data; what worked before gives the same result.

**Links out of a dataset's folder.** Datumaro refuses a whole dataset for one picture that is such a link. Here the item
stays, the link is not followed, and the picture's path becomes one that no file can have: that of a file below the
link, which is a file itself.

**Masks with large numbers.** Datumaro 1.13 multiplies a uint8 mask by its annotation's id when it writes COCO panoptic
masks. Since NumPy 2 that raises for ids above 255, which every COCO crowd region has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_links_fail_alone: ContextVar[bool] = ContextVar("links_fail_alone", default=False)


def sparing_others(join: Callable[..., str]) -> Callable[..., str]:
    """Wrap Datumaro's function that joins a folder and names, and raises for a path that leads out of the folder."""

    def join_within_base(base_dir: str, *parts: str) -> str:
        try:
            return join(base_dir, *parts)
        except ValueError:
            path = os.path.join(base_dir, *parts)
            plain, base = os.path.abspath(path), os.path.join(os.path.abspath(base_dir), "")
            # As it is written, the path is of a file in the folder: only a link among its parts leads out.
            is_link_out = plain.startswith(base) and os.path.isfile(plain)
            if not (_links_fail_alone.get() and is_link_out):
                raise
            return os.path.join(path, os.path.basename(path))

    return join_within_base


@contextmanager
def one_link_fails_alone() -> Iterator[None]:
    """While a dataset is read, let a link that leads out of its folder fail its own item only."""
    token = _links_fail_alone.set(True)
    try:
        yield
    finally:
        _links_fail_alone.reset(token)


def link_out_of_folder(path: str) -> str | None:
    """Return the link for which :func:`sparing_others` made this path; None for any other path."""
    link, name = os.path.split(path)
    return link if os.path.basename(link) == name and os.path.isfile(link) else None


def widened(masks: Iterable[Any]) -> Iterator[Any]:
    """Give each mask of (mask, index) pairs a dtype that holds its index; anything else passes unchanged."""
    for mask in masks:
        if isinstance(mask, tuple) and len(mask) == 2:
            pixels, index = np.asarray(mask[0]), mask[1]
            mask = (pixels.astype(np.promote_types(pixels.dtype, np.min_scalar_type(index)), copy=False), index)
        yield mask
