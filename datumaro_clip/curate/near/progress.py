"""How far a long run has come, said now and then."""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)

# Soon enough to be seen to live, then no more than a hundred lines in an hour.
_FIRST, _SECONDS = 5.0, 40.0


class Progress:
    """Logs what was done of how much, unless it said so a moment ago; a short run says nothing."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + _FIRST

    def tell(self, done: int, total: int) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS
            _log.info("near duplicates: %s %d of %d", self._what, done, total)
