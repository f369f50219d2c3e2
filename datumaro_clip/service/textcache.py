"""Vectors of texts that were asked for lately; whoever asks while one is being computed waits for that one."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from datumaro_clip.vectors import FloatArray, Provenance


def normalised(text: str) -> str:
    """The text in composed form (NFC), without blanks at its ends, and single ones inside."""
    return " ".join(unicodedata.normalize("NFC", text).split())


class TextCache:
    """The least recently used go first.

    Parameters
    ----------
    compute : callable
        Gives the vector (D,) of a normalised text.
    provenance : Provenance
        What computes them: vectors of another space or precision are others.
    most : int
        Texts that are kept.
    tell : callable
        Told ``hit`` or ``miss`` at each look-up; a text that is being computed for another request is a hit.
    """

    def __init__(
        self,
        compute: Callable[[str], Awaitable[FloatArray]],
        provenance: Provenance,
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        self._compute, self._most, self._tell = compute, most, tell
        self._prefix = (provenance.space.fingerprint, provenance.precision)
        self._kept: OrderedDict[tuple[str, str, str], asyncio.Task[FloatArray]] = OrderedDict()

    async def vector(self, text: str) -> FloatArray:
        """The vector (D,) of a text.

        Raises
        ------
        Exception
            What the computation says; the next request tries again.
        """
        key = (*self._prefix, normalised(text))
        task = self._kept.get(key)
        if task is None:
            self._tell("miss")
            task = asyncio.ensure_future(self._compute(key[-1]))
            self._kept[key] = task
            task.add_done_callback(lambda ended: self._forget_failed(key, ended))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._tell("hit")
            self._kept.move_to_end(key)
        # Shielded: one request that goes away must not end it for the others.
        return await asyncio.shield(task)

    def _forget_failed(self, key: tuple[str, str, str], task: asyncio.Task[FloatArray]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._kept.get(key) is task:
            del self._kept[key]
