"""One picture: what is asked for, how it is prepared for the encoder, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.embedding.keys import content_digest, source_digest, vector_key
from datumaro_clip.errors import ImageError, InferenceError
from datumaro_clip.images import Box, ImageLike, Region, decode
from datumaro_clip.images.decoding import decoded, describe
from datumaro_clip.images.regions import Cutter, require_size
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.objects.detections import Detections
from datumaro_clip.vectors import FloatArray

# Parts of a picture that are prepared together. A picture of more of them stays decoded until its last part is cut.
_TOGETHER = 16

#: A part of a picture, or None for the whole of it.
Part = Region | None


@dataclass(frozen=True)
class ImageRequest:
    """A picture to embed.

    Attributes
    ----------
    image : ImageLike or callable
        The picture, or a function that gives it; the function is called once, in a worker thread.
    box : tuple of float, optional
        ``(x, y, w, h)`` in pixels: only this part of it.
    """

    image: ImageLike | Callable[[], ImageLike]
    box: Box | None = None

    @classmethod
    def failing(cls, error: ImageError) -> ImageRequest:
        """A request for a picture that cannot be had; whoever fetches it gets the error."""
        return cls(partial(_fail, error))

    def __reduce__(self) -> tuple[type[ImageRequest], tuple[Any, Box | None]]:
        """A request that is sent to another process takes its picture along, as not every function can travel."""
        if not callable(self.image):
            return type(self), (self.image, self.box)
        try:
            return type(self), (self.fetch(), self.box)
        except ImageError as exc:
            return type(self), (partial(_fail, exc), self.box)

    def fetch(self) -> ImageLike:
        """The picture itself.

        Raises
        ------
        ImageError
            If the function that should give it fails, however it does.
        """
        if not callable(self.image):
            return self.image
        try:
            return self.image()
        except ImageError:
            raise
        except Exception as exc:  # The function is another program's, and may raise anything.
            raise ImageError("unreadable", f"the picture cannot be had: {exc}") from exc


def _fail(error: ImageError) -> ImageLike:
    raise error


@dataclass(frozen=True)
class PartsRequest:
    """A picture to embed in parts, decoded once for all of them.

    Attributes
    ----------
    picture : ImageRequest
        Its box does not count.
    parts : sequence of (Region or None)
        None is the whole picture; beside parts, it is decoded at its full size.
    find : callable, optional
        Looks at the whole picture, in a worker thread, for objects to embed behind ``parts``.
    region_of : callable, optional
        Makes the part of the picture that shows an object, of its box ``(x, y, w, h)``; None where it shall get no
        vector, which is the error ``too_small``.
    known : mapping, optional
        Vectors that parts have already, by :func:`~datumaro_clip.embedding.keys.source_digest`.
    size : tuple of int, optional
        (width, height) that the parts' places are about; in a picture of another size they are the error
        ``another_size``.
    """

    picture: ImageRequest
    parts: Sequence[Part] = (None,)
    find: Callable[[Image.Image], Detections] | None = None
    region_of: Callable[[Box], Region | None] = Region
    known: Mapping[str, FloatArray] = field(default_factory=dict)
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What became of a request, or of a part of it.

    Attributes
    ----------
    vector : numpy.ndarray or None
        Shape (D,), float32, unit length; None where the picture could not be embedded.
    error : ImageError or None
        Why not.
    source : str
        ``kept`` (known before), ``cache``, ``computed`` or ``failed``.
    origin : str
        Of a part, :func:`~datumaro_clip.embedding.keys.source_digest`; empty where the picture changed meanwhile.
    """

    vector: FloatArray | None
    error: ImageError | None
    source: Literal["kept", "cache", "computed", "failed"]
    origin: str = ""


@dataclass(frozen=True, eq=False)
class PartsResult:
    """What became of a picture's parts.

    Attributes
    ----------
    results : tuple of EmbedResult
        One a part that was asked for, then one an object that was found.
    found : Detections or None
        The objects, where some were looked for; None where the picture could not be looked at.
    """

    results: tuple[EmbedResult, ...]
    found: Detections | None = None


@dataclass(eq=False)
class Prepared:
    """A part up to where the encoder takes over: one of ``vector``, ``pixels`` and ``error`` is set.

    Attributes
    ----------
    key : bytes or None
        Where to keep the vector; None where it is not to be kept.
    vector : numpy.ndarray or None
        Shape (D,), found in the cache.
    pixels : numpy.ndarray or None
        Shape (H, W, 3), uint8, for the encoder.
    error : ImageError or None
        Why there are no pixels.
    origin : str
        As :attr:`EmbedResult.origin`.
    is_kept : bool
        Whether the vector was known before, and not found in the cache.
    """

    key: bytes | None = None
    vector: FloatArray | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    error: ImageError | None = None
    origin: str = ""
    is_kept: bool = False


@dataclass
class Chunk:
    """Some parts of a picture, prepared together by one thread.

    Attributes
    ----------
    picture : OpenPicture
    parts : sequence of (Region or None)
    is_last : bool
        Whether the picture has no parts behind them.
    prepared : list of Prepared
        Filled in when the chunk was prepared: one a part, then one an object that was found.
    found : Detections or None
        Likewise: the objects.
    """

    picture: OpenPicture
    parts: Sequence[Part]
    is_last: bool
    prepared: list[Prepared] = field(default_factory=list)
    found: Detections | None = None

    @property
    def weight(self) -> int:
        """How many parts it has; where objects are looked for, as many as a picture often shows."""
        return max(len(self.parts), 1) + (_TOGETHER if self.picture.request.find else 0)


def chunks_of(request: PartsRequest) -> Iterator[Chunk]:
    """A request's parts in chunks, in order; one chunk where there are no parts, or objects are to be found."""
    parts = request.parts
    together = max(len(parts), 1) if request.find else _TOGETHER
    picture = OpenPicture(request, is_shared=len(parts) > together)
    for start in range(0, max(len(parts), 1), together):
        yield Chunk(picture, parts[start : start + together], start + together >= len(parts))


class OpenPicture:
    """A picture that is fetched, hashed and decoded once for all its parts.

    Parameters
    ----------
    request : PartsRequest
    is_shared : bool
        Whether several threads ask for it: it then stays decoded as long as one of them knows it.

    Attributes
    ----------
    needs_all : bool
        Whether more than the whole picture is wanted, so that it has to be decoded at its full size.
    """

    def __init__(self, request: PartsRequest, *, is_shared: bool) -> None:
        self.request = request
        self.needs_all = request.find is not None or any(part is not None for part in request.parts)
        self._is_shared, self._lock = is_shared, Lock()
        self._image: ImageLike | ImageError | None = None
        self._digest: bytes | None = None
        self._before: tuple[int, int, int] | None = None
        self._decoded: Image.Image | None = None

    @property
    def image(self) -> ImageLike:
        """The picture as it was given, fetched when first asked for."""
        with self._lock:
            if self._image is None:
                try:
                    self._image = self.request.picture.fetch()
                    self._before = _state_of(self._image)
                except ImageError as error:
                    self._image = error
            if isinstance(self._image, ImageError):
                raise self._image
            return self._image

    @property
    def digest(self) -> bytes:
        """BLAKE2b-256 of its content."""
        image = self.image
        with self._lock:
            if self._digest is None:
                self._digest = content_digest(image)
            return self._digest

    @property
    def has_changed(self) -> bool:
        """Whether its file was written to since it was fetched."""
        return _state_of(self.image) != self._before

    def whole(self) -> AbstractContextManager[Image.Image]:
        """The picture, decoded at its full size, for a block."""
        image = self.image
        if not self._is_shared:
            return decoded(image)
        with self._lock:
            if self._decoded is None:
                self._decoded = decode(image)
            return nullcontext(self._decoded)


class Preparation:
    """Hash, look up, decode and preprocess; safe to call from several threads.

    Parameters
    ----------
    encoder : Encoder
    cache : VectorCache or None
    exact_decode : bool
        Decode large JPEGs whole.
    """

    def __init__(self, encoder: Encoder, cache: VectorCache | None, exact_decode: bool) -> None:
        self._preprocessing, self._provenance = encoder.preprocessing, encoder.provenance
        self._cache, self._exact_decode = cache, exact_decode

    def __call__(self, chunk: Chunk) -> Chunk:
        """Prepare a chunk; whatever is wrong with the picture is in it."""
        picture = chunk.picture
        try:
            if picture.request.find is not None:
                with picture.whole() as image:
                    self._find(chunk, image)
            else:
                self._prepare(chunk)
            if picture.has_changed:
                # A file that changes between the hash and the decoding must not leave its vector under the old key.
                for one in chunk.prepared:
                    one.key, one.origin = None, ""
        except ImageError as error:
            chunk.prepared = [Prepared(error=error) for _ in chunk.parts]
        return chunk

    def _prepare(self, chunk: Chunk) -> None:
        """Prepare the parts that were asked for; the picture is decoded only if one has to be computed."""
        picture = chunk.picture
        chunk.prepared = self._looked_up(picture, chunk.parts)
        missing = _missing(chunk.prepared)
        if missing and picture.needs_all:
            with picture.whole() as image:
                _refuse_another_size(chunk, image)
                self._cut(image, chunk.parts, chunk.prepared, _missing(chunk.prepared))
        for n in missing if not picture.needs_all else ():
            chunk.prepared[n].pixels = self._preprocessing.read(picture.image, exact=self._exact_decode)

    def _find(self, chunk: Chunk, image: Image.Image) -> None:
        """Look for objects, and prepare them behind the parts that were asked for."""
        request = chunk.picture.request
        assert request.find is not None
        try:
            chunk.found = request.find(image)
        except InferenceError as exc:
            raise ImageError("inference", f"the detector fails on this picture: {exc}") from exc
        corners = chunk.found.boxes.astype(np.float64)
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        regions = [request.region_of((x, y, w, h)) for x, y, w, h in sides.tolist()]
        parts = [*chunk.parts, *(region for region in regions if region is not None)]
        chunk.prepared = self._looked_up(chunk.picture, parts)
        _refuse_another_size(chunk, image)
        self._cut(image, parts, chunk.prepared, _missing(chunk.prepared))
        for n, region in enumerate(regions, len(chunk.parts)):
            if region is None:
                chunk.prepared.insert(n, Prepared(error=ImageError("too_small", "the object is too small")))

    def _looked_up(self, picture: OpenPicture, parts: Sequence[Part]) -> list[Prepared]:
        """The parts with what the cache holds of them."""
        prepared = [self._with_key(picture, part) for part in parts]
        if self._cache is not None:
            keyed = [one for one in prepared if one.key is not None]
            for one, vector in zip(keyed, self._cache.get([one.key for one in keyed if one.key]), strict=True):
                one.vector = vector
        return prepared

    def _with_key(self, picture: OpenPicture, part: Part) -> Prepared:
        if self._cache is None and part is None:
            return Prepared()
        exact = self._exact_decode or picture.needs_all
        try:
            origin = "" if part is None else source_digest(picture.digest, part)
            if (vector := picture.request.known.get(origin)) is not None:
                return Prepared(vector=vector, origin=origin, is_kept=True)
            if self._cache is None:
                return Prepared(origin=origin)
            return Prepared(vector_key(picture.digest, self._provenance, part, exact_decode=exact), origin=origin)
        except ImageError as error:
            return Prepared(error=error)

    def _cut(self, image: Image.Image, parts: Sequence[Part], prepared: list[Prepared], missing: list[int]) -> None:
        """The pixels of parts that are not in the cache."""
        cutter = Cutter(image)
        for n in missing:
            part = parts[n]
            try:
                prepared[n].pixels = self._preprocessing(image if part is None else cutter(part))
            except ImageError as error:
                prepared[n].error = error


def _refuse_another_size(chunk: Chunk, image: Image.Image) -> None:
    """Give the error to the parts that were asked for, where the picture is not of the size that they are about."""
    try:
        require_size(image, chunk.picture.request.size)
    except ImageError as exc:
        error = ImageError(exc.reason, f"{describe(chunk.picture.image)}: {exc}")
        for one, part in zip(chunk.prepared, chunk.parts, strict=False):
            if part is not None and one.vector is None and one.error is None:
                one.error = error


def _missing(prepared: Sequence[Prepared]) -> list[int]:
    """Which parts have neither a vector nor an error."""
    return [n for n, one in enumerate(prepared) if one.vector is None and one.error is None]


def _state_of(image: ImageLike) -> tuple[int, int, int] | None:
    """What changes when a file is written to; None for what is no file, or has gone."""
    if not isinstance(image, str | os.PathLike):
        return None
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
