"""The summary that a run logs at its end."""

from __future__ import annotations

import logging
import time
from collections import Counter

from datumaro_clip.errors import ImageError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.system.terminal import is_notebook

log = logging.getLogger(__name__)

#: Failures that are logged as warnings; the others are counted, and logged for debugging.
NAMED_FAILURES = 3


def level_of_failure(number: int) -> int:
    """Return the log level of a run's first, second, … failure."""
    return logging.WARNING if number <= NAMED_FAILURES else logging.DEBUG


class EmbeddingSummary:
    """Counts where vectors came from, and why some are not there.

    Attributes
    ----------
    sources : collections.Counter
        Items by source: ``computed``, ``cache``, ``kept`` (the item brought it), ``no picture``, ``failed``.
    failures : collections.Counter
        Failed items by reason.
    cut_texts : int
        Texts computed without their ends, being longer than the model reads.
    objects : collections.Counter
        Objects by source, and those without a vector by ``too_small`` or ``failed`` and the reason.
    """

    def __init__(self) -> None:
        self.sources: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.cut_texts = 0
        self.objects: Counter[str] = Counter()
        self._encoder: Encoder | None = None
        self._started = time.monotonic()

    def computed_by(self, encoder: Encoder) -> None:
        """Name the model that computes; timing starts here."""
        self._encoder = encoder
        self._started = time.monotonic()

    def count(self, error: ImageError | None) -> None:
        """Count, and name in the log, an item whose picture could not be embedded."""
        if error is None:
            return
        self.failures[error.reason] += 1
        log.log(level_of_failure(self.failures.total()), "Not embedded: %s", error)

    def count_object(self, error: ImageError, *, is_named: bool) -> None:
        """Count an object that could not be embedded; name it in the log, unless its picture was named already."""
        self.objects[f"failed {error.reason}"] += 1
        failed = sum(count for reason, count in self.objects.items() if reason.startswith("failed"))
        if is_named:
            log.log(level_of_failure(failed), "Not embedded: %s", error)

    def count_cut(self, texts: int) -> None:
        """Count texts of which the model reads the beginning only."""
        self.cut_texts += texts

    def log(self) -> None:
        """Write the summary to the log."""
        log.info("%s", self)
        if is_notebook():
            print(self)
        if self.cut_texts:
            log.warning("Texts longer than the model reads, and cut: %d", self.cut_texts)

    def __str__(self) -> str:
        more = "; clip_clean names each" if self.failures.total() > NAMED_FAILURES else ""
        parts = [
            f"embedded {self.sources['computed']}, from the cache {self.sources['cache']}, "
            f"kept {self.sources['kept']}, without a picture {self.sources['no picture']}, "
            f"failed {_counted(self.failures, more)}"
        ]
        if self.objects.total():
            failed = Counter({name.partition(" ")[2]: n for name, n in self.objects.items() if " " in name})
            parts.append(
                f"objects: embedded {self.objects['computed']}, from the cache {self.objects['cache']}, "
                f"kept {self.objects['kept']}, too small {self.objects['too_small']}, failed {_counted(failed)}"
            )
        if self._encoder is not None:
            rate = self.sources["computed"] / max(time.monotonic() - self._started, 1e-9)
            parts.append(f"{self._encoder.provenance}" + (f", {rate:.1f} images/s" if rate else ""))
        return "; ".join(parts)


def _counted(failures: Counter[str], more: str = "") -> str:
    """Write the number of failures, then the number of each reason."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(failures.items()))
    return f"{failures.total()} ({reasons}{more})" if reasons else str(failures.total())
