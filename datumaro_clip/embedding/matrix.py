"""Embed pictures into one matrix, with a cache and a progress bar: a function for users of Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sized
from contextlib import nullcontext

import numpy as np
from PIL import Image

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.embedding.images import embed_images
from datumaro_clip.embedding.requests import ImageRequest
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.images import ImageLike
from datumaro_clip.images.decoding import describe
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.system.terminal import is_notebook, progress
from datumaro_clip.vectors import FloatArray


def embed(
    pictures: Iterable[ImageLike],
    model: str | os.PathLike[str] | Encoder | None = None,
    *,
    device: str = "CPU",
    precision: str = "auto",
    cache: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    exact_decode: bool = False,
) -> tuple[FloatArray, dict[int, ImageError]]:
    """Embed pictures; gives the vectors of ``clip_embed``, equal to the bit, and uses the same cache.

    Parameters
    ----------
    pictures : iterable
        Paths, encoded bytes, PIL images, or arrays of uint8 or uint16: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.
    model : path, str or Encoder, optional
        As :func:`datumaro_clip.load_model` takes it; for many calls, load a model once and pass it.
    device, precision : str
        As :func:`datumaro_clip.load_model` takes them; ignored if ``model`` is an encoder.
    cache : path or str, optional
        The vector cache's directory, or ``off``; by default in the platform's cache directory.
    batch_size, threads : int, optional
        As :func:`~datumaro_clip.embedding.embed_images` takes them.
    exact_decode : bool
        Decode large JPEGs whole instead of scaled.

    Returns
    -------
    vectors : numpy.ndarray
        Shape (N, D), float32, unit rows in the order of the pictures; NaN for a picture that could not be embedded.
    errors : dict of int to ImageError
        The errors of those pictures, by row.

    Raises
    ------
    OptionError
        If ``pictures`` is a single picture, or an option cannot be used.
    ModelError
        If there is no such model or device, or it cannot be used.
    CacheError
        If the cache cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from datumaro_clip.testing import FakeEncoder
    >>> vectors, errors = embed([np.zeros((9, 9, 3), np.uint8), "gone.jpg"], FakeEncoder(), cache="off")
    >>> vectors.shape, errors[1].reason
    ((2, 64), 'missing')
    """
    single = isinstance(pictures, str | bytes | os.PathLike | Image.Image)
    if single or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        raise OptionError(f"wanted a list of pictures, got one: {describe(pictures)}; put it in a list")
    encoder = load_model(model, device, precision)
    rows: list[FloatArray] = []
    errors: dict[int, ImageError] = {}
    nowhere = np.full(encoder.space.dimension, np.nan, np.float32)
    total = len(pictures) if isinstance(pictures, Sized) else None
    with nullcontext() if cache == "off" else VectorCache(cache) as kept, progress(total) as bar:
        requests = map(ImageRequest, pictures)
        for index, result in enumerate(
            embed_images(
                requests, encoder, cache=kept, batch_size=batch_size, threads=threads, exact_decode=exact_decode
            )
        ):
            if result.error is not None:
                errors[index] = result.error
            rows.append(nowhere if result.vector is None else result.vector)
            bar.update()
    if is_notebook():
        print(f"embedded {len(rows) - len(errors)}, failed {len(errors)}; {encoder.provenance}")
    return np.asarray(rows, np.float32).reshape(-1, encoder.space.dimension), errors
