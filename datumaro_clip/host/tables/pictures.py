"""Items' pictures as files that can be written: bytes as they are, unless another encoding is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, ImageFromBytes, ImageFromFile
from datumaro.util.image import encode_image

from datumaro_clip.errors import ImageError
from datumaro_clip.host.codec.pixels import decoded_anew, dotted
from datumaro_clip.host.images import has_picture
from datumaro_clip.system.files import atomic_path, atomic_write, copy_picture, reading_picture


class ItemPicture:
    """The picture of an item.

    Parameters
    ----------
    media : Image
    image_ext : str, optional
        Encode in this format, as ``.png``, unless the picture is in it already.
    """

    def __init__(self, media: Image, image_ext: str | None = None) -> None:
        self._media = media
        self.path: str | None = media.path if type(media) is ImageFromFile else None
        wanted = dotted(image_ext)
        own = media.ext if isinstance(media, ImageFromFile | ImageFromBytes) else None
        self._is_encoded = bool(own) and wanted in (None, own)
        self.ending: str = wanted or own or ".png"

    def read(self) -> bytes:
        """Its encoded bytes.

        Raises
        ------
        ImageError
            If its file, or its data, is not there, cannot be read, or not be encoded anew.
        """
        if self.path is not None and self._is_encoded:
            with reading_picture(self.path):
                return Path(self.path).read_bytes()
        is_ready = isinstance(self._media, ImageFromBytes) and self._is_encoded
        data: bytes | None = self._media.bytes if is_ready else self._encoded()
        if data is None:
            raise ImageError("missing", f"{self._media!r} holds no data")
        return data

    def save(self, path: Path) -> None:
        """Write it to a file, whole; a file's bytes are copied."""
        if self.path is not None and self._is_encoded:
            with atomic_path(path, durable=False) as temporary:
                copy_picture(Path(self.path), temporary)
        else:
            data = self.read()
            with atomic_write(path, durable=False) as file:
                file.write(data)

    def _encoded(self) -> bytes | None:
        try:
            with reading_picture(self.path or self._media):
                data = decoded_anew(self._media)
            return None if data is None else bytes(encode_image(np.asarray(data), self.ending))
        except ImageError:
            raise
        except Exception as exc:  # Datumaro's decoders and encoders raise what they like.
            raise ImageError("unreadable", f"{self._media!r} cannot be written as {self.ending}: {exc}") from exc


def picture_of(item: DatasetItem, image_ext: str | None = None) -> ItemPicture | None:
    """An item's picture; None where it has none."""
    return ItemPicture(item.media, image_ext) if has_picture(item) else None
