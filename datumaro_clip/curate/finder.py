"""Find objects in items with a detector."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from datumaro_clip.curate.embedder import answered, named
from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.objects import Objects
from datumaro_clip.curate.summary import level_of_failure
from datumaro_clip.embedding.images import find_objects
from datumaro_clip.errors import ImageError
from datumaro_clip.system.terminal import progress

log = logging.getLogger(__name__)

# Classes that the summary names, the most frequent ones.
_NAMED_CLASSES = 8


def find_in_items(
    items: Iterable[Item],
    objects: Objects,
    *,
    threads: int | None = None,
    on_error: str = "keep",
    total: int | None = None,
) -> Iterator[tuple[Item, tuple[ItemBox, ...] | None]]:
    """Look for objects in the items' pictures, lazily; log a summary at the end.

    Parameters
    ----------
    items : iterable of Item
    objects : Objects
        With a detector.
    threads : int, optional
        As :func:`~datumaro_clip.embedding.images.find_objects` takes it.
    on_error : str
        What becomes of an item whose picture cannot be looked at: ``keep`` it as it is, ``skip`` it, or ``fail``.
    total : int, optional
        Number of items, for the progress bar.

    Yields
    ------
    item : Item
        In the order given.
    detected : tuple of ItemBox or None
        Best first; None where there is no picture, or it could not be looked at.

    Raises
    ------
    ImageError
        With ``on_error="fail"``, for the first picture that cannot be looked at.
    """
    pictures, classes, failures = 0, Counter[str](), Counter[str]()
    started = time.monotonic()
    asked = ((item, None if item.picture is None else item.request()) for item in items)
    with progress(total, doing="Detecting") as bar:
        for item, found in answered(asked, partial(find_objects, find=objects.find, threads=threads)):
            bar.update()
            detected = None
            if isinstance(found, ImageError):
                error = named(found, item)
                if on_error == "fail":
                    raise error
                failures[error.reason] += 1
                log.log(level_of_failure(failures.total()), "Not looked at: %s", error)
                if on_error == "skip":
                    continue
            elif found is not None:
                detected = tuple(objects.boxes_of(found))
                pictures += 1
                classes.update(str(box.label) for box in detected)
            yield item, detected
    most = ", ".join(f"{name} {count}" for name, count in classes.most_common(_NAMED_CLASSES))
    more = ", …" if len(classes) > _NAMED_CLASSES else ""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(failures.items()))
    rate = pictures / max(time.monotonic() - started, 1e-9)
    log.info(
        "%s",
        f"looked at {pictures} pictures, found {classes.total()} objects"
        + (f" ({most}{more})" if most else "")
        + f", failed {failures.total()}"
        + (f" ({reasons})" if reasons else "")
        + (f"; {rate:.1f} images/s" if pictures else ""),
    )
