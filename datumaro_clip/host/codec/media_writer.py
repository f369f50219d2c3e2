"""Datumaro's media as JSON, with their bytes as files inside the store where asked for."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datumaro.components.media import (
    Image,
    MediaElement,
    MultiframeImage,
    PointCloud,
    RoIImage,
    TableRow,
    Video,
    VideoFrame,
)
from datumaro.components.media import MosaicImageFromImageRoIPairs as MosaicOfImages
from datumaro.util.image import encode_image

from datumaro_clip.errors import ImageError, StoreError
from datumaro_clip.host.codec.pixels import decoded_anew, dotted, exact_png, npy, path_of, raw
from datumaro_clip.host.codec.tables import TableWriter
from datumaro_clip.images.decoding import size_in_header
from datumaro_clip.store import ArchiveMember, MediaFolder

Payload = dict[str, Any]

log = logging.getLogger(__name__)

# Media that cannot be saved and are named one by one; the others are only counted.
_NAMED = 20


class MediaWriter:
    """Turns media into payloads.

    Parameters
    ----------
    folder : MediaFolder
        Where bytes go.
    save : bool
        Keep the media themselves; else only where their files are.
    image_ext : str, optional
        Encode pictures anew in this format, as ``.jpg``; else bytes are copied.

    Attributes
    ----------
    counts : Counter
        ``missing``: files, or data, that were to be saved and are not there. ``unsaved``: pictures without a file,
        which are lost unless ``save`` is true. Else an :class:`ImageError`'s reason: files that were to be saved and
        cannot be read, or decoded where they are to be encoded anew.
    """

    def __init__(self, folder: MediaFolder, *, save: bool, image_ext: str | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._save = folder, save
        self._image_ext = dotted(image_ext)
        self._tables = TableWriter(folder)

    def encode(self, media: MediaElement, name: str) -> Payload:
        """A medium's payload; ``name``, without extension, is what to call its file."""
        if isinstance(media, VideoFrame):
            return {"type": "video_frame", "video": self.encode(media.video, name), "index": media.index}
        if isinstance(media, Video):
            return {"type": "video", **self._source(media.path, f"videos/{Path(media.path).name}"), **_range(media)}
        if isinstance(media, MosaicOfImages):
            parts = [[self.encode(image, f"{name}.{i}"), list(roi)] for i, (image, roi) in enumerate(media._data_in)]
            return {"type": "mosaic_image", "parts": parts, **_size(media)}
        if isinstance(media, Image):
            return self._image(media, name, keep=self._save)
        if isinstance(media, MultiframeImage):
            frames = [self.encode(image, f"{name}.{i}") for i, image in enumerate(media.data)]
            return {"type": "multiframe_image", "images": frames, "origin": media.path}
        if isinstance(media, PointCloud):
            return self._point_cloud(media, name)
        if isinstance(media, TableRow):
            return {"type": "table_row", "file": self._tables.reference(media.table), "index": int(media.index)}
        return {"type": "media_element"}

    def encode_annotation_image(self, image: Image, name: str) -> Payload:
        """The payload of a picture that is itself an annotation: kept even where media are not, if it has no file."""
        return self._image(image, name, keep=self._save or not path_of(image))

    def _image(self, image: Image, name: str, *, keep: bool) -> Payload:
        kind = "roi_image" if isinstance(image, RoIImage) else "image"
        roi = {"roi": list(image.roi)} if isinstance(image, RoIImage) else {}
        path = path_of(image)
        if path and not (keep and self._image_ext and image.ext != self._image_ext):
            source = {**self._source(path, name + (image.ext or ""), keep=keep), **_size_of(path)}
        elif keep:
            source = self._pixels(image, name)
        elif isinstance(image._data, ArchiveMember):
            source = {"archive": asdict(image._data)}
        else:
            source = {}
            self.counts["unsaved"] += 1
        return {"type": kind, **source, **roi, **_size(image), **_extension(image, path), **_dtype(image)}

    def _pixels(self, image: Image, name: str) -> Payload:
        """Keep a picture that has no file, or that is to be encoded anew; one without data is missing."""
        path = path_of(image)
        try:
            data = decoded_anew(image) if self._image_ext and not isinstance(image, RoIImage) else raw(image)
            if data is not None:
                return {"file": self._folder.add_bytes(*self._encoded(data, image.ext, name)), **_size_of(data)}
            if path and os.path.isfile(path):
                raise ImageError("unreadable", f"{path}: it holds no picture; copy or download it again")
            self.counts["missing"] += 1
        except StoreError:
            raise
        except Exception as exc:  # Another program's reader, or Datumaro's, may raise anything on a damaged picture.
            self._not_saved(exc if isinstance(exc, ImageError) else ImageError("unreadable", f"{path or name}: {exc}"))
        return {"path": os.path.abspath(path)} if path else {}

    def _encoded(self, data: Any, extension: str | None, name: str) -> tuple[bytes, str]:
        """A picture's bytes, and the name of their file."""
        if isinstance(data, bytes):
            return data, name + (extension or ".png")
        if self._image_ext:
            return encode_image(data, self._image_ext), name + self._image_ext
        png = exact_png(data)
        return png or npy(data), name + (".png" if png else ".npy")

    def _point_cloud(self, cloud: PointCloud, name: str) -> Payload:
        path = getattr(cloud, "path", None)
        if path:
            source = self._source(path, name + Path(path).suffix)
        elif self._save:
            source = {"file": self._folder.add_bytes(cloud.data, f"{name}.pcd")}
        else:
            source = {}
            self.counts["unsaved"] += 1
        extra = [self.encode(image, f"{name}.extra-{i}") for i, image in enumerate(cloud.extra_images)]
        return {"type": "point_cloud", **source, "extra_images": extra}

    def _source(self, path: str, name: str, *, keep: bool | None = None) -> Payload:
        """A file's copy inside the store, or where the file is; one that is in the store stays there."""
        inside = self._folder.find(Path(path))
        if inside is not None:
            return {"file": inside}
        if self._save if keep is None else keep:
            try:
                if os.path.isfile(path):
                    return {"file": self._folder.add_file(Path(path), name)}
                self.counts["missing"] += 1
            except ImageError as exc:
                self._not_saved(exc)
        return {"path": os.path.abspath(path)}

    def _not_saved(self, error: ImageError) -> None:
        self.counts[error.reason] += 1
        if self.counts[error.reason] <= _NAMED:
            log.warning("Not saved: %s", error)


def _range(video: Video) -> Payload:
    return {"range": [video._step, video._start_frame, video._end_frame]}


def _size(image: Image) -> Payload:
    """The size (H, W) if it is known; a picture is not decoded for it."""
    return {} if image._size is None else {"size": [int(side) for side in image._size]}


def _size_of(data: str | bytes | npt.NDArray[Any]) -> Payload:
    """The size (H, W) of a file, of encoded bytes, or of pixels; nothing where it cannot be told without decoding."""
    size = data.shape[:2] if isinstance(data, np.ndarray) else size_in_header(data)
    return {} if size is None else {"size": list(size)}


def _extension(image: Image, path: str | None) -> Payload:
    """The extension where the file's name does not say it."""
    is_said = not image.ext or (path is not None and image.ext == os.path.splitext(path)[1])
    return {} if is_said else {"ext": image.ext}


def _dtype(image: Image) -> Payload:
    return {} if np.dtype(image._dtype) == np.uint8 else {"dtype": np.dtype(image._dtype).str}
