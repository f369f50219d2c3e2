"""Datumaro's media as JSON and back, with their bytes as files inside the store where asked for.

What is read back is lazy: no bytes are read before they are asked for.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from datumaro.components.media import (
    Image,
    MediaElement,
    MosaicImage,
    MultiframeImage,
    PointCloud,
    RoIImage,
    Table,
    TableRow,
    Video,
    VideoFrame,
)
from datumaro.components.media import MosaicImageFromImageRoIPairs as MosaicOfImages
from datumaro.util.image import encode_image

from datumaro_clip.errors import ImageError, StoreError
from datumaro_clip.host.codec.pixels import NpyFile, decoded_anew, dotted, exact_png, npy, path_of, raw
from datumaro_clip.host.codec.values import CodecError, decode_value, encode_value, plain_dtype
from datumaro_clip.images.decoding import size_in_header
from datumaro_clip.store import ArchiveMember, MediaFolder, media_path

if TYPE_CHECKING:
    import pandas as pd

Payload = dict[str, Any]

log = logging.getLogger(__name__)

# Media that cannot be saved are named one by one up to this many; the others are only counted.
_NAMED = 20
# Tables that are kept in memory: their rows may come in turns.
_TABLES = 16


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
        # By identity; tables are held, so that no other can take the identity of one.
        self._tables: dict[int, tuple[Table, str]] = {}

    def encode(self, media: MediaElement, name: str) -> Payload:
        """Return a medium's payload; ``name``, without extension, is what to call its file."""
        if isinstance(media, VideoFrame):
            return {"type": "video_frame", "video": self.encode(media.video, name), "index": media.index}
        if isinstance(media, Video):
            source = self._source(media.path, f"videos/{Path(media.path).name}")
            return {"type": "video", **source, "range": [media._step, media._start_frame, media._end_frame]}
        if isinstance(media, MosaicOfImages):
            parts = [[self.encode(image, f"{name}.{i}"), list(roi)] for i, (image, roi) in enumerate(media._data_in)]
            return {"type": "mosaic_image", "parts": parts, **_known_size(media)}
        if isinstance(media, Image):
            return self._image(media, name, keep=self._save)
        if isinstance(media, MultiframeImage):
            frames = [self.encode(image, f"{name}.{i}") for i, image in enumerate(media.data)]
            return {"type": "multiframe_image", "images": frames, "origin": media.path}
        if isinstance(media, PointCloud):
            return self._point_cloud(media, name)
        if isinstance(media, TableRow):
            return {"type": "table_row", "file": self._table(media.table), "index": int(media.index)}
        return {"type": "media_element"}

    def encode_annotation_image(self, image: Image, name: str) -> Payload:
        """Return the payload of a picture that is itself an annotation; one without a file is always kept."""
        return self._image(image, name, keep=self._save or not path_of(image))

    def _image(self, image: Image, name: str, *, keep: bool) -> Payload:
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
        is_part = isinstance(image, RoIImage)
        payload = {"type": "roi_image" if is_part else "image", **source}
        if is_part:
            payload["roi"] = list(image.roi)
        payload |= _known_size(image)
        if image.ext and (path is None or image.ext != os.path.splitext(path)[1]):
            payload["ext"] = image.ext
        if np.dtype(image._dtype) != np.uint8:
            payload["dtype"] = np.dtype(image._dtype).str
        return payload

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
        """Return a picture's bytes, and the name of their file."""
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

    def _table(self, table: Table) -> str:
        """Return where a table is inside the store; its first row puts it there, as JSON."""
        if id(table) not in self._tables:
            if len(self._tables) == _TABLES:
                self._tables.clear()
            frame = table.data
            columns = [
                {"name": name, "dtype": str(frame[name].dtype), "values": encode_value(frame[name].tolist())}
                for name in frame.columns
            ]
            data = json.dumps({"columns": columns}, separators=(",", ":"), allow_nan=False).encode()
            name = f"tables/{Path(getattr(table, 'path', 'table')).stem}.json"
            self._tables[id(table)] = table, self._folder.add_bytes(data, name)
        return self._tables[id(table)][1]

    def _source(self, path: str, name: str, *, keep: bool | None = None) -> Payload:
        """Copy a file into the store, or say where it is; one that is in the store stays there."""
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


def _known_size(image: Image) -> Payload:
    """Return the size (H, W) if it is known; the picture is not decoded for it."""
    return {} if image._size is None else {"size": [int(side) for side in image._size]}


def _size_of(data: str | bytes | npt.NDArray[Any]) -> Payload:
    """Return the size (H, W) of a file, of encoded bytes, or of pixels, if it can be told without decoding."""
    size = data.shape[:2] if isinstance(data, np.ndarray) else size_in_header(data)
    return {} if size is None else {"size": list(size)}


class MediaReader:
    """Turns payloads into media.

    Parameters
    ----------
    root : Path
        The store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tables: dict[str, Table] = {}
        self._latest_video: tuple[Payload, Video] | None = None

    def decode(self, value: Payload) -> MediaElement:
        """Return the medium that was encoded; its bytes are not read.

        Raises
        ------
        CodecError
            If the payload means nothing.
        StoreCorruptError
            If it names a file outside the store.
        """
        match value.get("type"):
            case "image":
                image = self._image(value)
                if "dtype" in value:
                    image._dtype = plain_dtype(value["dtype"])
                return image
            case "roi_image":
                whole = self._image({key: part for key, part in value.items() if key != "size"})
                return RoIImage.from_image(whole, tuple(value["roi"]))
            case "mosaic_image":
                parts = [(self.decode(image), tuple(roi)) for image, roi in value["parts"]]
                return MosaicImage.from_image_roi_pairs(parts, tuple(value["size"]))
            case "multiframe_image":
                return MultiframeImage([self.decode(image) for image in value["images"]], path=value["origin"])
            case "video":
                return self._video(value)
            case "video_frame":
                return VideoFrame(self._video(value["video"]), value["index"])
            case "point_cloud":
                extra = [self.decode(image) for image in value["extra_images"]]
                path = self._path(value)
                if path is None:
                    return PointCloud.from_bytes(None, extra_images=extra)
                return PointCloud.from_file(path, extra_images=extra)
            case "table_row":
                return TableRow(self._table(value["file"]), value["index"])
            case "media_element":
                return MediaElement()
            case kind:
                raise CodecError(f"a medium of the unknown kind {kind!r}")

    def _image(self, value: Payload) -> Image:
        facts = {"size": _checked_size(value["size"]) if "size" in value else None, "ext": value.get("ext")}
        if "archive" in value:
            return Image.from_bytes(ArchiveMember.parse(value["archive"]), **facts)
        path = self._path(value)
        if path is None:
            return Image.from_numpy(None, **facts)
        return Image.from_numpy(NpyFile(path), **facts) if path.endswith(".npy") else Image.from_file(path, **facts)

    def _video(self, value: Payload) -> Video:
        # Frames of one video share it, since each has a decoder of its own.
        if self._latest_video is None or self._latest_video[0] != value:
            step, start, end = value["range"]
            self._latest_video = value, Video(self._path(value), step=step, start_frame=start, end_frame=end)
        return self._latest_video[1]

    def _table(self, reference: str) -> Table:
        if reference not in self._tables:
            if len(self._tables) == _TABLES:
                self._tables.clear()
            self._tables[reference] = Table.from_dataframe(_read_table(media_path(self._root, reference)))
        return self._tables[reference]

    def _path(self, value: Payload) -> str | None:
        """Return where a medium's file is, if it has one; a missing file fails later, when it is read."""
        path: Any = str(media_path(self._root, value["file"])) if "file" in value else value.get("path")
        if path is None:
            return None
        if not isinstance(path, str):
            raise CodecError(f"a medium at {path!r}")
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return path
        # A pipe or a device would be read for ever.
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise CodecError(f"a medium at {path}, which is no file")
        return path


def _checked_size(value: Any) -> tuple[int, int]:
    height, width = value
    if not (type(height) is type(width) is int and min(height, width) > 0 and max(height, width) < 2**31):
        raise CodecError(f"a picture of the size {value}")
    return height, width


def _read_table(path: Path) -> pd.DataFrame:
    # Here, since it takes a third of a second, and few stores hold tables.
    import pandas as pd

    try:
        columns: list[dict[str, Any]] = json.loads(path.read_bytes())["columns"]
        series = {c["name"]: pd.Series(decode_value(c["values"]), dtype=c["dtype"]) for c in columns}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise CodecError(f"the table {path.name}, which cannot be read: {exc!r}") from exc
    return pd.DataFrame(series)
