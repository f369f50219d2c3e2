"""Temporary files for what does not fit in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from datumaro_clip.errors import ScratchError


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Around what writes to a temporary file: says where that is, what is wrong with it and the cure.

    Raises
    ------
    ScratchError
        Instead of :class:`OSError`.
    """
    try:
        yield
    except OSError as exc:
        raise ScratchError(
            f"the temporary directory {tempfile.gettempdir()} cannot be written: {exc.strerror or exc}; "
            "make room there, or name another directory in TMPDIR"
        ) from exc
