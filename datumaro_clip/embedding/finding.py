"""Find objects in any number of pictures."""

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
    """Find the objects in each picture, in the order of the requests; lazy, a few pictures ahead.

    Parameters
    ----------
    requests : iterable of ImageRequest
        Taken in the caller's thread; their boxes are ignored.
    find : callable
        Finds the objects in a picture, as :meth:`~datumaro_clip.objects.detector.Detector.find` does; called in worker
        threads.
    threads : int, optional
        Threads that read, decode and call ``find``; by default one for each CPU of this process, from 2 to 16.

    Returns
    -------
    iterator of Detections or ImageError
        Boxes in pixels of the picture; an error for a picture that cannot be decoded, or on which ``find`` fails.
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

    with closing(Workers(look, requests, threads, 2 * threads)) as found:
        yield from found
