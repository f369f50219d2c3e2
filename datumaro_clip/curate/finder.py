"""Finding objects in items with a detector."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from datumaro_clip.curate.embedder import named
from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.summary import level_of_failure
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.embedding.finding import find_objects
from datumaro_clip.errors import ImageError
from datumaro_clip.system.progress import progress

log = logging.getLogger(__name__)

# Classes that the summary names, the most frequent ones.
_NAMED_CLASSES = 8


@dataclass(frozen=True)
class ItemObjects:
    """An item with what a detector found in its picture.

    Attributes
    ----------
    item : Item
    detected : tuple of ItemBox or None
        Best first; None where there is no picture, or it could not be looked at.
    error : ImageError or None
        Why not.
    """

    item: Item
    detected: tuple[ItemBox, ...] | None
    error: ImageError | None = None


class Finder:
    """Items in, items with the objects that were found out, in order.

    Parameters
    ----------
    objects : Objects
        With a detector.
    threads : int, optional
        As :func:`~datumaro_clip.embedding.finding.find_objects` takes it.
    on_error : str
        What becomes of an item whose picture cannot be looked at: ``keep`` it as it is, ``skip`` it, or ``fail``.
    """

    def __init__(self, objects: Objects, threads: int | None = None, on_error: str = "keep") -> None:
        self._objects, self._threads, self._on_error = objects, threads, on_error
        self._pictures = 0
        self._classes: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._started = time.monotonic()

    def run(self, items: Iterable[Item], total: int | None = None) -> Iterator[ItemObjects]:
        """Look at the items' pictures, lazily; log the summary at the end.

        Raises
        ------
        ImageError
            With ``on_error="fail"``, for the first picture that cannot be looked at.
        """
        with progress(total, doing="Detecting") as bar:
            for found in self._found(items):
                bar.update()
                if found.error is not None:
                    self._count(found.error)
                if found.error is None or self._on_error == "keep":
                    yield found
        log.info("%s", self)

    def _found(self, items: Iterable[Item]) -> Iterator[ItemObjects]:
        waiting: deque[Item] = deque()
        for found in find_objects(self._requests(items, waiting), self._objects.find, self._threads):
            yield from self._without_picture(waiting)
            item = waiting.popleft()
            if isinstance(found, ImageError):
                yield ItemObjects(item, None, named(found, item))
                continue
            boxes = self._objects.boxes_of(found)
            self._pictures += 1
            self._classes.update(str(box.label) for box in boxes)
            yield ItemObjects(item, tuple(boxes))
        yield from self._without_picture(waiting)

    def _requests(self, items: Iterable[Item], waiting: deque[Item]) -> Iterator[ImageRequest]:
        for item in items:
            waiting.append(item)
            if item.picture is not None:
                yield item.request()

    def _without_picture(self, waiting: deque[Item]) -> Iterator[ItemObjects]:
        while waiting and waiting[0].picture is None:
            yield ItemObjects(waiting.popleft(), None)

    def _count(self, error: ImageError) -> None:
        """Count a failure, and name it in the log."""
        if self._on_error == "fail":
            raise error
        self._failures[error.reason] += 1
        log.log(level_of_failure(self._failures.total()), "Not looked at: %s", error)

    def __str__(self) -> str:
        most = ", ".join(f"{name} {count}" for name, count in self._classes.most_common(_NAMED_CLASSES))
        more = ", …" if len(self._classes) > _NAMED_CLASSES else ""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self._failures.items()))
        rate = self._pictures / max(time.monotonic() - self._started, 1e-9)
        return (
            f"looked at {self._pictures} pictures, found {self._classes.total()} objects"
            + (f" ({most}{more})" if most else "")
            + f", failed {self._failures.total()}"
            + (f" ({reasons})" if reasons else "")
            + (f"; {rate:.1f} images/s" if self._pictures else "")
        )
