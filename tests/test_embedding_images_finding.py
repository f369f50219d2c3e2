"""Objects are found in many pictures at once, a few ahead, in order; an error is its picture's result."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.embedding.images import find_objects
from datumaro_clip.embedding.requests import ImageRequest
from datumaro_clip.errors import ImageError, InferenceError
from datumaro_clip.objects.detections import Detections


def shade(picture: Image.Image) -> Detections:
    """Find one box, as wide as the picture is light; fail on a black picture."""
    level = picture.convert("L").getpixel((0, 0))
    if not level:
        raise InferenceError("out of memory")
    return Detections(np.array([[0, 0, level, 1]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))


def request(level: int) -> ImageRequest:
    return ImageRequest(lambda: np.full((4, 4, 3), level, np.uint8))


@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_each_picture_has_its_result_in_order(count: int, threads: int | None) -> None:
    found = list(find_objects(map(request, range(1, count + 1)), shade, threads))
    assert [each.boxes[0, 2] for each in found if isinstance(each, Detections)] == list(range(1, count + 1))


def test_what_cannot_be_looked_at_is_that_pictures_error() -> None:
    broken = ImageRequest(lambda: b"no picture")
    one, unreadable, failed, last = find_objects([request(1), broken, request(0), request(2)], shade, 2)
    assert isinstance(one, Detections)
    assert isinstance(unreadable, ImageError)
    assert isinstance(failed, ImageError)
    assert (failed.reason, "the detector fails" in str(failed)) == ("inference", True)
    assert isinstance(last, Detections)


@pytest.mark.parametrize("threads", [1, 4])
def test_two_pictures_a_thread_are_taken_ahead_and_no_more(threads: int) -> None:
    taken: list[int] = []

    def requests() -> Iterator[ImageRequest]:
        for number in range(1, 60):
            taken.append(number)
            yield request(number)

    found = find_objects(requests(), shade, threads)
    next(iter(found))
    assert 2 * threads <= len(taken) <= 2 * threads + 1
