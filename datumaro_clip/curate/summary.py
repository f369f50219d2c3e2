"""What a run tells at its end: one summary."""

from __future__ import annotations

import logging
import time
from collections import Counter

from datumaro_clip.errors import ImageError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.system.terminal import is_notebook

log = logging.getLogger(__name__)

#: Failures that are named one by one; the others are counted, and named where the log takes what is for debugging.
NAMED_FAILURES = 3


def level_of_failure(number: int) -> int:
    """The log level at which a run's first, second, … failure is named."""
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
        parts = [
            f"embedded {self.sources['computed']}",
            f"from the cache {self.sources['cache']}",
            f"kept {self.sources['kept']}",
            f"without a picture {self.sources['no picture']}",
            f"failed {self.failures.total()}{self._reasons()}",
        ]
        return "; ".join([", ".join(parts), *self._of_objects(), *self._computer()])

    def _of_objects(self) -> list[str]:
        if not self.objects.total():
            return []
        failed = {reason.partition(" ")[2]: n for reason, n in sorted(self.objects.items()) if " " in reason}
        reasons = ", ".join(f"{reason} {count}" for reason, count in failed.items())
        parts = [
            f"objects: embedded {self.objects['computed']}",
            f"from the cache {self.objects['cache']}",
            f"kept {self.objects['kept']}",
            f"too small {self.objects['too_small']}",
            f"failed {sum(failed.values())}" + (f" ({reasons})" if reasons else ""),
        ]
        return [", ".join(parts)]

    def _reasons(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.failures.items()))
        more = "; clip_clean names each" if self.failures.total() > NAMED_FAILURES else ""
        return f" ({reasons}{more})" if reasons else ""

    def _computer(self) -> list[str]:
        if self._encoder is None:
            return []
        computed = self.sources["computed"]
        rate = computed / max(time.monotonic() - self._started, 1e-9)
        speed = f", {rate:.1f} images/s" if computed else ""
        return [f"{self._encoder.provenance}{speed}"]
