"""Looking for objects in pictures, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from PIL import Image

from datumaro_clip.embedding.images import default_threads
from datumaro_clip.embedding.requests import ImageRequest
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.errors import ImageError, InferenceError
from datumaro_clip.images.decoding import decoded
from datumaro_clip.objects.detections import Detections


def find_objects(
    requests: Iterable[ImageRequest], find: Callable[[Image.Image], Detections], threads: int | None = None
) -> Iterator[Detections | ImageError]:
    """Look for objects, one result a request, in the order of the requests; lazily, a few pictures ahead.

    Parameters
    ----------
    requests : iterable of ImageRequest
        Taken in the caller's thread; their boxes do not count.
    find : callable
        As :meth:`~datumaro_clip.objects.detector.Detector.find`, its options given; called in worker threads.
    threads : int, optional
        Threads that read, decode and look; one for each CPU that this process may use where omitted, from 2 to 16.

    Returns
    -------
    iterator of Detections or ImageError
        In pixels of the picture; the error of a picture that cannot be decoded or looked at.
    """
    threads = default_threads() if threads is None else threads

    def look(request: ImageRequest) -> Detections | ImageError:
        try:
            with decoded(request.fetch()) as picture:
                return find(picture)
        except ImageError as error:
            return error
        except InferenceError as exc:
            return ImageError("inference", f"the detector fails on this picture: {exc}")

    workers: Workers[ImageRequest, Detections | ImageError] = Workers(look, threads)
    try:
        with closing(workers.map(requests, 2 * threads)) as found:
            yield from found
    finally:
        workers.stop()
