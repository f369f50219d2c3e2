"""What the service finds in a picture of a request: its vector, its objects, its defects."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from datumaro_clip.curate.clean import PictureFacts, picture_findings, spread
from datumaro_clip.images import decode
from datumaro_clip.images.decoding import ending_of
from datumaro_clip.objects.detector import DetectionOptions, Detector
from datumaro_clip.service.embedding import Embedding
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.pool import Pool
from datumaro_clip.vectors import FloatArray

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class DetectedObject:
    """An object that the detector found: x1, y1, x2, y2 in pixels, its class, confidence and vector (D,)."""

    corners: Corners
    class_name: str
    confidence: float
    vector: FloatArray
    source: str


@dataclass(frozen=True, eq=False)
class PictureAnalysis:
    """What was found in a picture.

    Attributes
    ----------
    data : bytes
        The encoded picture.
    digest : str
        SHA-256 of the bytes, 64 hexadecimal digits.
    ending : str
        For its file name, such as ``.jpg``.
    size : tuple of int
        Height and width, pixels.
    reasons : tuple of str
        The checks of ``clip_clean`` that it fails.
    vector : numpy.ndarray
        (D,), unit length.
    objects : tuple of DetectedObject
        The most confident first.
    """

    data: bytes
    digest: str
    ending: str
    size: tuple[int, int]
    reasons: tuple[str, ...]
    vector: FloatArray
    objects: tuple[DetectedObject, ...]


class PictureAnalyzer:
    """Embeds pictures, finds their objects, and checks them.

    Parameters
    ----------
    embedding : Embedding
    detector : Detector or None
        Without one, no objects are found.
    pool : Pool
    metrics : Metrics
    """

    def __init__(self, embedding: Embedding, detector: Detector | None, pool: Pool, metrics: Metrics) -> None:
        self.detector = detector
        self._embedding, self._pool, self._metrics = embedding, pool, metrics

    async def analyze(self, data: bytes) -> PictureAnalysis:
        """Return what is in an encoded picture.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        """
        image, ending, reasons = await self._pool.run(_opened, data)
        digest = hashlib.sha256(data).hexdigest()
        found = [] if self.detector is None else await self._pool.run(self._detect, self.detector, image)
        boxes = [(x1, y1, x2 - x1, y2 - y1) for (x1, y1, x2, y2), _, _ in found]
        whole, *parts = await asyncio.gather(
            self._embedding.picture(data), *(self._embedding.picture(image, box) for box in boxes)
        )
        objects = [
            DetectedObject(corners, name, confidence, vector, _source(digest, corners))
            for (corners, name, confidence), vector in zip(found, parts, strict=True)
        ]
        return PictureAnalysis(data, digest, ending, (image.height, image.width), reasons, whole, tuple(objects))

    def _detect(self, detector: Detector, image: Image.Image) -> list[tuple[Corners, str, float]]:
        with self._metrics.busy("detector", 1):
            found = detector.find(image, DetectionOptions())
        return [
            (tuple(box), detector.labels[label], score)
            for box, label, score in zip(
                found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True
            )
        ]


def _opened(data: bytes) -> tuple[Image.Image, str, tuple[str, ...]]:
    """Decode a picture; return it, the ending of its file name, and the checks of ``clip_clean`` that it fails."""
    image = decode(data)
    facts = PictureFacts(None, image.width, image.height, spread(image))
    return image, ending_of(data), tuple(finding.reason for finding in picture_findings(facts))


def _source(digest: str, corners: Corners) -> str:
    """Hash what an object's vector is computed from: the picture's bytes and the box."""
    text = f"{digest} {np.asarray(corners, np.float32).tolist()}"
    return hashlib.sha256(text.encode()).hexdigest()
