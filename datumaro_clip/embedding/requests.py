"""Requests to embed pictures or parts of them, and their preparation for the encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
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

# Parts of a picture that are prepared together. A picture with more parts stays decoded until the last one is cut.
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
        """Make a request for a picture that cannot be read; fetching it raises the error."""
        return cls(partial(_fail, error))

    def __reduce__(self) -> tuple[type[ImageRequest], tuple[Any, Box | None]]:
        """Pickle the picture itself instead of a function that gives it, because not every function can be pickled."""
        try:
            return type(self), (self.fetch(), self.box)
        except ImageError as exc:
            return type(self), (partial(_fail, exc), self.box)

    def fetch(self) -> ImageLike:
        """Return the picture itself.

        Raises
        ------
        ImageError
            If the function that gives it fails in any way.
        """
        if not callable(self.image):
            return self.image
        try:
            return self.image()
        except ImageError:
            raise
        except Exception as exc:  # Another program's function may raise anything.
            raise ImageError("unreadable", f"the picture cannot be had: {exc}") from exc


def _fail(error: ImageError) -> ImageLike:
    raise error


@dataclass(frozen=True)
class PartsRequest:
    """A picture to embed in parts, decoded once for all of them.

    Attributes
    ----------
    picture : ImageRequest
        Its box is ignored.
    parts : sequence of (Region or None)
        None is the whole picture, which is decoded at its full size if there are other parts.
    find : callable, optional
        Finds objects in the whole picture, in a worker thread, to embed after ``parts``.
    region_of : callable, optional
        Makes the region to embed from an object's box ``(x, y, w, h)``; None for an object that gets no vector but the
        error ``too_small``.
    known : mapping, optional
        Known vectors of parts, by :func:`~datumaro_clip.embedding.keys.source_digest`.
    size : tuple of int, optional
        (width, height) of the picture that the parts were drawn in; in a picture of another size, they get the error
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
    """The vector of a picture or part, or the error instead of it.

    Attributes
    ----------
    vector : numpy.ndarray or None
        Shape (D,), float32, unit length; None if there is an error.
    error : ImageError or None
        Why there is no vector.
    source : str
        ``kept`` (known before), ``cache``, ``computed`` or ``failed``.
    origin : str
        A part's :func:`~datumaro_clip.embedding.keys.source_digest`; empty for a whole picture, and if the file changed
        while it was read.
    """

    vector: FloatArray | None
    error: ImageError | None
    source: Literal["kept", "cache", "computed", "failed"]
    origin: str = ""


@dataclass(frozen=True, eq=False)
class PartsResult:
    """The results of a picture's parts.

    Attributes
    ----------
    results : tuple of EmbedResult
        One for each part that was asked for, then one for each object that was found.
    found : Detections or None
        The objects; None if the request has no ``find``, or the picture could not be read.
    """

    results: tuple[EmbedResult, ...]
    found: Detections | None = None


@dataclass(eq=False)
class Prepared:
    """A part that is ready for the encoder, or has its result already: ``pixels`` or ``result`` is set.

    Attributes
    ----------
    key : bytes or None
        The key to cache the vector under; None if it is not to be cached.
    origin : str
        As :attr:`EmbedResult.origin`.
    pixels : numpy.ndarray or None
        Shape (H, W, 3), uint8, for the encoder.
    result : EmbedResult or None
        A known or cached vector, or an error.
    """

    key: bytes | None = None
    origin: str = ""
    pixels: npt.NDArray[np.uint8] | None = None
    result: EmbedResult | None = None

    @classmethod
    def failed(cls, error: ImageError) -> Prepared:
        """Make a part that has an error for its result."""
        return cls(result=EmbedResult(None, error, "failed"))


@dataclass
class Chunk:
    """Some parts of a picture, prepared together by one thread.

    Attributes
    ----------
    picture : OpenPicture
    parts : sequence of (Region or None)
    is_last : bool
        Whether these are the last parts of the picture.
    prepared : list of Prepared
        Set by :class:`Preparation`: one for each part, then one for each object that was found.
    found : Detections or None
        Set by :class:`Preparation`: the objects.
    """

    picture: OpenPicture
    parts: Sequence[Part]
    is_last: bool
    prepared: list[Prepared] = field(default_factory=list)
    found: Detections | None = None

    @property
    def weight(self) -> int:
        """Number of parts, plus the number of objects that a picture often has if objects are to be found."""
        return max(len(self.parts), 1) + (_TOGETHER if self.picture.request.find else 0)


def chunks_of(request: PartsRequest) -> Iterator[Chunk]:
    """Split a request's parts into chunks, in order; one chunk if there are no parts, or objects are to be found."""
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
        Whether several chunks need it: it then stays decoded as long as a chunk refers to it.

    Attributes
    ----------
    needs_all : bool
        Whether a part or an object is wanted, so that the picture must be decoded at its full size.
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
        """The picture as it was given; fetched at the first use, and so is its error."""
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
        """Whether the file was written to since it was fetched."""
        return _state_of(self.image) != self._before

    def whole(self) -> AbstractContextManager[Image.Image]:
        """Decode the picture at its full size, for a block."""
        image = self.image
        if not self._is_shared:
            return decoded(image)
        with self._lock:
            if self._decoded is None:
                self._decoded = decode(image)
            return nullcontext(self._decoded)


class Preparation:
    """Hashes, looks up, decodes and preprocesses pictures; safe to call from several threads.

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
        """Prepare a chunk; errors of the picture become results of its parts."""
        picture = chunk.picture
        try:
            if picture.request.find is not None:
                with picture.whole() as image:
                    self._find(chunk, image)
            else:
                self._prepare(chunk)
            if picture.has_changed:
                # If the file changed between hash and decoding, its vector must not be cached under the old key.
                for one in chunk.prepared:
                    one.key, one.origin = None, ""
                    one.result = one.result and replace(one.result, origin="")
        except ImageError as error:
            chunk.prepared = [Prepared.failed(error) for _ in chunk.parts]
        return chunk

    def _prepare(self, chunk: Chunk) -> None:
        """Prepare the parts that were asked for; decode the picture only if one has to be computed."""
        picture = chunk.picture
        chunk.prepared = self._looked_up(picture, chunk.parts)
        missing = [one for one in chunk.prepared if one.result is None]
        if missing and picture.needs_all:
            with picture.whole() as image:
                _refuse_another_size(chunk, image)
                self._cut(image, chunk.parts, chunk.prepared)
        else:
            for one in missing:
                one.pixels = self._preprocessing.read(picture.image, exact=self._exact_decode)

    def _find(self, chunk: Chunk, image: Image.Image) -> None:
        """Find objects, and prepare them after the parts that were asked for."""
        request = chunk.picture.request
        assert request.find is not None
        chunk.found = detect(request.find, image)
        corners = chunk.found.boxes.astype(np.float64)
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        regions = [request.region_of((x, y, w, h)) for x, y, w, h in sides.tolist()]
        parts = [*chunk.parts, *(region for region in regions if region is not None)]
        chunk.prepared = self._looked_up(chunk.picture, parts)
        _refuse_another_size(chunk, image)
        self._cut(image, parts, chunk.prepared)
        for n, region in enumerate(regions, len(chunk.parts)):
            if region is None:
                chunk.prepared.insert(n, Prepared.failed(ImageError("too_small", "the object is too small")))

    def _looked_up(self, picture: OpenPicture, parts: Sequence[Part]) -> list[Prepared]:
        """Key the parts, and look them up among the known vectors and in the cache."""
        prepared = [self._with_key(picture, part) for part in parts]
        if self._cache is not None:
            keyed = [one for one in prepared if one.key is not None]
            for one, vector in zip(keyed, self._cache.get([one.key for one in keyed if one.key]), strict=True):
                if vector is not None:
                    one.result = EmbedResult(vector, None, "cache", one.origin)
        return prepared

    def _with_key(self, picture: OpenPicture, part: Part) -> Prepared:
        if self._cache is None and part is None:
            return Prepared()
        exact = self._exact_decode or picture.needs_all
        try:
            origin = "" if part is None else source_digest(picture.digest, part)
            if (vector := picture.request.known.get(origin)) is not None:
                return Prepared(result=EmbedResult(vector, None, "kept", origin))
            if self._cache is None:
                return Prepared(origin=origin)
            return Prepared(vector_key(picture.digest, self._provenance, part, exact_decode=exact), origin=origin)
        except ImageError as error:
            return Prepared.failed(error)

    def _cut(self, image: Image.Image, parts: Sequence[Part], prepared: list[Prepared]) -> None:
        """Cut out and preprocess the parts that have no result yet."""
        cutter = Cutter(image)
        for part, one in zip(parts, prepared, strict=True):
            if one.result is None:
                try:
                    one.pixels = self._preprocessing(image if part is None else cutter(part))
                except ImageError as error:
                    one.result = EmbedResult(None, error, "failed")


def detect(find: Callable[[Image.Image], Detections], picture: Image.Image) -> Detections:
    """Call a detector; raise :class:`ImageError` if it fails on the picture."""
    try:
        return find(picture)
    except InferenceError as exc:
        raise ImageError("inference", f"the detector fails on this picture: {exc}") from exc


def _refuse_another_size(chunk: Chunk, image: Image.Image) -> None:
    """Give an error to the parts that were asked for, if the picture has another size than they were drawn for."""
    try:
        require_size(image, chunk.picture.request.size)
    except ImageError as exc:
        error = ImageError(exc.reason, f"{describe(chunk.picture.image)}: {exc}")
        for one, part in zip(chunk.prepared, chunk.parts, strict=False):
            if part is not None and one.result is None:
                one.result = EmbedResult(None, error, "failed")


def _state_of(image: ImageLike) -> tuple[int, int, int] | None:
    """Return what changes when a file is written to; None for a picture that is no file, or is gone."""
    if not isinstance(image, str | os.PathLike):
        return None
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
