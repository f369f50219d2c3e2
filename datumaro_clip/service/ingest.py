"""New pictures: examined, committed to the store and searchable before they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np

from datumaro_clip.curate.near.find import find_near
from datumaro_clip.curate.thumbnails import square_thumbnail
from datumaro_clip.errors import ImageError
from datumaro_clip.images import decode
from datumaro_clip.service.analysis import PictureAnalysis, PictureAnalyzer
from datumaro_clip.service.collection import Collection
from datumaro_clip.service.described import REASONS
from datumaro_clip.service.embedding import Embedding
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import NotServedError, Pictures
from datumaro_clip.service.pool import Pool
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.searching import Searcher
from datumaro_clip.service.settings import Settings
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.service.storing import StoreQueue, add_class
from datumaro_clip.similarity import exact_scores
from datumaro_clip.store import CaptionVector, ObjectVector, Record, StoreWriter
from datumaro_clip.store.base import ADDED, TAGS
from datumaro_clip.vectors import FloatArray, ItemKey

# How many nearest pictures may be the same one, and from which similarity, as `clip_dedup` proposes them by vectors.
_NEAREST = 5
_LEAST_SIMILARITY = 0.88


@dataclass(frozen=True)
class Submission:
    """A picture as it was sent.

    Attributes
    ----------
    data : bytes
    captions, tags : tuple of str
    subset : str
    """

    data: bytes
    captions: tuple[str, ...]
    tags: tuple[str, ...]
    subset: str


@dataclass(frozen=True, eq=False)
class IngestResult:
    """What became of a picture that is now in the store.

    Attributes
    ----------
    snapshot : Snapshot
        One that has the picture.
    key : ItemKey
    seconds : float
        From its arrival to its commit.
    created : bool
        Whether it was not there before.
    analysis : PictureAnalysis or None
        What was found in it; None if it was there before.
    alignment : float or None
        Score of its best caption.
    duplicate_of : ImageId or None
        The picture that it shows again.
    """

    snapshot: Snapshot
    key: ItemKey
    seconds: float
    created: bool = False
    analysis: PictureAnalysis | None = None
    alignment: float | None = None
    duplicate_of: ImageId | None = None


@dataclass(eq=False)
class Ingest:
    """Stores new pictures in one store.

    Attributes
    ----------
    name : str
        The store's.
    collection : Collection
    embedding : Embedding
    analyzer : PictureAnalyzer
    searcher : Searcher
    pictures : Pictures
    pool : Pool
    metrics : Metrics
    settings : Settings
        Say what becomes of pictures with defects, and how many writes may wait.
    queue : StoreQueue
        The writes to the store.
    """

    name: str
    collection: Collection
    embedding: Embedding
    analyzer: PictureAnalyzer
    searcher: Searcher
    pictures: Pictures
    pool: Pool
    metrics: Metrics
    settings: Settings

    def __post_init__(self) -> None:
        provenance = self.embedding.encoder.provenance
        self.queue = StoreQueue(self.name, self.collection, provenance, self.pool, self.settings.queue)

    async def add(self, sent: Submission) -> IngestResult:
        """Store a picture, unless the store has it; return when it can be searched.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        RequestError
            422, if it is refused; 503, if the store cannot be written at the moment.
        """
        try:
            result = await self._add(sent)
        except (RequestError, ImageError) as problem:
            is_refused = isinstance(problem, ImageError) or problem.status == 422
            self.metrics.ingested.labels("refused" if is_refused else "failed").inc()
            raise
        self.metrics.ingested.labels("created" if result.created else "known").inc()
        self.metrics.ingest_seconds.observe(result.seconds)
        return result

    async def _add(self, sent: Submission) -> IngestResult:
        begin = time.perf_counter()
        analysis = await self.analyzer.analyze(sent.data)
        snapshot = self.collection.named(self.name)
        if known := await self.pool.run(_known, snapshot, analysis.digest):
            return IngestResult(snapshot, known, time.perf_counter() - begin)
        texts: Sequence[FloatArray] = await asyncio.gather(*map(self.embedding.text, sent.captions))
        scores = [float(exact_scores(analysis.vector[None], text[None])[0]) for text in texts]
        duplicate = await self._duplicate_of(snapshot, analysis)
        reasons = (*analysis.reasons, *(("duplicate",) if duplicate else ()))
        if reasons and self.settings.ingest_policy == "refuse":
            raise RequestError(
                422,
                f"this picture is {', '.join(reasons)}; send another, or start the service with --ingest-policy flag",
                param="file",
                reasons=list(reasons),
                duplicate_of=None if duplicate is None else str(duplicate),
            )
        key = ItemKey(analysis.digest, sent.subset)
        make = partial(self._record, key, sent=sent, analysis=analysis, texts=texts, scores=scores, reasons=reasons)
        snapshot, created = await self.queue.add(key, make)
        alignment = max(scores, default=None)
        return IngestResult(snapshot, key, time.perf_counter() - begin, created, analysis, alignment, duplicate)

    def _record(
        self,
        key: ItemKey,
        writer: StoreWriter,
        *,
        sent: Submission,
        analysis: PictureAnalysis,
        texts: Sequence[FloatArray],
        scores: Sequence[float],
        reasons: Sequence[str],
    ) -> Record:
        """Save the picture in the store under its digest, and return the item's record."""
        file = writer.media.add_bytes(sent.data, f"{sent.subset}/{analysis.digest}{analysis.ending}")
        attributes: dict[str, Any] = {ADDED: datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        if sent.tags:
            attributes[TAGS] = list(sent.tags)
        if reasons and self.settings.ingest_policy == "flag":
            attributes[REASONS] = ", ".join(reasons)
        annotations: list[dict[str, Any]] = [{"type": "Caption", "caption": text} for text in sent.captions]
        captions = [CaptionVector(n, *pair) for n, pair in enumerate(zip(texts, scores, strict=True))]
        detector = "" if self.analyzer.detector is None else self.analyzer.detector.fingerprint
        objects = []
        for each in analysis.objects:
            confidence = min(max(each.confidence, 0.0), 1.0)
            objects.append(
                ObjectVector(
                    len(annotations), each.vector, each.corners, each.class_name, confidence, detector, each.source
                )
            )
            annotations.append(
                {
                    "type": "Bbox",
                    "points": list(each.corners),
                    "label": add_class(writer, each.class_name),
                    "attributes": {"score": each.confidence, "clip_detector": detector},
                }
            )
        media = {"type": "image", "file": file, "size": list(analysis.size)}
        payload = {"media": media, "annotations": annotations, "attributes": attributes}
        return Record(key, payload, analysis.vector, tuple(captions), tuple(objects))

    async def _duplicate_of(self, snapshot: Snapshot, analysis: PictureAnalysis) -> ImageId | None:
        """Return the picture that this one shows again, as ``clip_dedup`` would say."""
        hits = await self.searcher.search([snapshot], analysis.vector, _NEAREST, kind="duplicates")
        near = [hit.row for hit in hits if hit.score >= _LEAST_SIMILARITY]
        row = await self.pool.run(self._same_picture, analysis, snapshot, near) if near else None
        return None if row is None else ImageId(snapshot.name, snapshot.facts.keys[row])

    def _same_picture(self, analysis: PictureAnalysis, snapshot: Snapshot, rows: Sequence[int]) -> int | None:
        """Return which of some rows has the picture that this one shows again."""
        thumbnails, found, vectors = [square_thumbnail(decode(analysis.data))], [], [analysis.vector]
        for row in rows:
            try:
                picture = self.pictures.find(snapshot.path, snapshot.described(row).media)
                thumbnail = square_thumbnail(decode(picture.content))
            except (NotServedError, ImageError):  # A picture that cannot be read is nobody's duplicate.
                continue
            vector = snapshot.vector(row)
            if vector is not None:
                found.append(row)
                vectors.append(vector)
                thumbnails.append(thumbnail)
        if not found:
            return None
        order = [*range(1, len(thumbnails)), 0]
        groups = find_near(thumbnails, order, np.stack(vectors), threshold=_LEAST_SIMILARITY)
        representative = int(groups.representatives[0])
        return None if representative == 0 else found[representative - 1]


def _known(snapshot: Snapshot, digest: str) -> ItemKey | None:
    """Return the key of the item with these bytes, in whatever subset."""
    keys = (ItemKey(digest, subset) for subset in snapshot.reader.subsets)
    return next((key for key in keys if snapshot.reader.find(key) is not None), None)
