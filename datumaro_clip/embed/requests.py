"""What the pipeline takes and gives for one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike
from datumaro_clip.vectors import FloatArray

Box = tuple[float, float, float, float]
Source = Literal["cache", "computed", "failed"]


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


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What became of a request.

    Attributes
    ----------
    vector : numpy.ndarray or None
        Shape (D,), float32, unit length; None where the picture could not be embedded.
    error : ImageError or None
        Why not.
    source : str
        ``cache``, ``computed`` or ``failed``.
    """

    vector: FloatArray | None
    error: ImageError | None
    source: Source
