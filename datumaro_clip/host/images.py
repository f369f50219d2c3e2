"""The picture of a Datumaro item, as the pipeline takes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, ImageFromBytes, ImageFromFile, VideoFrame

from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.links import link_out_of_folder
from datumaro_clip.images import ImageLike


def has_picture(item: DatasetItem) -> bool:
    """Whether an item's media is one picture; point clouds, videos, tables and empty media are not."""
    return isinstance(item.media, Image)


def image_request(item: DatasetItem) -> ImageRequest:
    """Ask for an item's whole picture.

    Files and encoded bytes are passed on undecoded. Anything else is Datumaro's array, turned from BGR to RGB: when
    a worker gets to it, but a video's frame at once, since a video is read in order by one reader.
    """
    media = item.media
    if isinstance(media, VideoFrame):
        return _read_now(ImageRequest(lambda: _pixels(media)))
    if type(media) is ImageFromFile:
        if link := link_out_of_folder(media.path):
            problem = f"{link}: it leads out of the dataset's folder and is not followed; put the picture itself there"
            return ImageRequest.failing(ImageError("outside", problem))
        return ImageRequest(media.path)
    if isinstance(media, ImageFromBytes):
        return ImageRequest(lambda: _encoded(media))
    return ImageRequest(lambda: _pixels(media))


def _read_now(request: ImageRequest) -> ImageRequest:
    """A request for the same picture, read already; where that fails, asking for it fails in the same way."""
    try:
        return ImageRequest(request.fetch())
    except ImageError as exc:
        return ImageRequest.failing(exc)


def _encoded(media: ImageFromBytes) -> ImageLike:
    data = media.bytes
    return _pixels(media) if data is None else data


def _pixels(media: Image) -> npt.NDArray[np.uint8]:
    """Datumaro's array as RGB or RGBA uint8."""
    data = media.data
    if data is None:
        raise ImageError("missing", f"{media!r} holds no picture; check where its data should come from")
    data = np.asarray(data)
    if data.ndim == 3 and data.shape[2] in (3, 4):
        data = data[..., [2, 1, 0, *range(3, data.shape[2])]]
    return np.ascontiguousarray(data)
