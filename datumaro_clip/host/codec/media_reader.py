"""Datumaro's media from JSON, and from files inside the store; their bytes are not read before they are asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datumaro.components.media import (
    Image,
    MediaElement,
    MosaicImage,
    MultiframeImage,
    PointCloud,
    RoIImage,
    TableRow,
    Video,
    VideoFrame,
)

from datumaro_clip.host.codec.pixels import NpyFile
from datumaro_clip.host.codec.tables import TableReader
from datumaro_clip.host.codec.values import CodecError, plain_dtype
from datumaro_clip.store import ArchiveMember, media_path

Payload = dict[str, Any]


class MediaReader:
    """Turns payloads into media.

    Parameters
    ----------
    root : Path
        The store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tables = TableReader(root)
        self._latest_video: tuple[Payload, Video] | None = None

    def decode(self, value: Payload) -> MediaElement:
        """The medium that was encoded; its bytes are not read.

        Raises
        ------
        CodecError
            If the payload means nothing.
        StoreCorruptError
            If it names a file outside the store.
        """
        decode = _DECODERS.get(value.get("type", ""))
        if decode is None:
            raise CodecError(f"a medium of the unknown kind {value.get('type')!r}")
        return decode(self, value)

    def _image(self, value: Payload) -> Image:
        image = self._whole_image(value)
        if "dtype" in value:
            image._dtype = plain_dtype(value["dtype"])
        return image

    def _whole_image(self, value: Payload) -> Image:
        facts = {"size": _size(value["size"]) if "size" in value else None, "ext": value.get("ext")}
        if "archive" in value:
            return Image.from_bytes(ArchiveMember.parse(value["archive"]), **facts)
        path = self._path(value)
        if path is None:
            return Image.from_numpy(None, **facts)
        return Image.from_numpy(NpyFile(path), **facts) if path.endswith(".npy") else Image.from_file(path, **facts)

    def _roi_image(self, value: Payload) -> Image:
        whole = self._whole_image({key: part for key, part in value.items() if key != "size"})
        return RoIImage.from_image(whole, tuple(value["roi"]))

    def _mosaic(self, value: Payload) -> Image:
        parts = [(self.decode(image), tuple(roi)) for image, roi in value["parts"]]
        return MosaicImage.from_image_roi_pairs(parts, tuple(value["size"]))

    def _frames(self, value: Payload) -> MultiframeImage:
        return MultiframeImage([self.decode(image) for image in value["images"]], path=value["origin"])

    def _video(self, value: Payload) -> Video:
        # Frames of one video share it, since each has a decoder of its own.
        if self._latest_video is None or self._latest_video[0] != value:
            step, start, end = value["range"]
            self._latest_video = value, Video(self._path(value), step=step, start_frame=start, end_frame=end)
        return self._latest_video[1]

    def _video_frame(self, value: Payload) -> VideoFrame:
        return VideoFrame(self._video(value["video"]), value["index"])

    def _point_cloud(self, value: Payload) -> PointCloud:
        extra = [self.decode(image) for image in value["extra_images"]]
        path = self._path(value)
        if path is None:
            return PointCloud.from_bytes(None, extra_images=extra)
        return PointCloud.from_file(path, extra_images=extra)

    def _table_row(self, value: Payload) -> TableRow:
        return TableRow(self._tables.table(value["file"]), value["index"])

    def _path(self, value: Payload) -> str | None:
        path: str | None = str(media_path(self._root, value["file"])) if "file" in value else value.get("path")
        if path is not None:
            _require_file(path)
        return path


def _size(value: Any) -> tuple[int, int]:
    height, width = value
    if not (type(height) is type(width) is int and min(height, width) > 0 and max(height, width) < 2**31):
        raise CodecError(f"a picture of the size {value}")
    return height, width


def _require_file(path: Any) -> None:
    """Refuse a pipe or a device, which would be read for ever; what is not there is missing later, where it is read."""
    if not isinstance(path, str):
        raise CodecError(f"a medium at {path!r}")
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CodecError(f"a medium at {path}, which is no file")


_DECODERS: Mapping[str, Callable[[MediaReader, Payload], MediaElement]] = {
    "image": MediaReader._image,
    "roi_image": MediaReader._roi_image,
    "mosaic_image": MediaReader._mosaic,
    "multiframe_image": MediaReader._frames,
    "video": MediaReader._video,
    "video_frame": MediaReader._video_frame,
    "point_cloud": MediaReader._point_cloud,
    "table_row": MediaReader._table_row,
    "media_element": lambda reader, value: MediaElement(),
}
