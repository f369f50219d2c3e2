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
from datumaro_clip.service.collection import Collection
from datumaro_clip.service.described import REASONS
from datumaro_clip.service.embedding import Embedding
from datumaro_clip.service.looking import Looking, Seen
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
class Taken:
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
    seen : Seen or None
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
    seen: Seen | None = None
    alignment: float | None = None
    duplicate_of: ImageId | None = None


class Ingest:
    """Stores new pictures in one store.

    Parameters
    ----------
    name : str
        The store's.
    collection : Collection
    embedding : Embedding
    looking : Looking
    searcher : Searcher
    pictures : Pictures
    pool : Pool
    metrics : Metrics
    settings : Settings
        Say what becomes of pictures with defects, and how many writes may wait.
    """

    def __init__(
        self,
        name: str,
        collection: Collection,
        embedding: Embedding,
        looking: Looking,
        searcher: Searcher,
        pictures: Pictures,
        pool: Pool,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._name, self._collection, self._policy = name, collection, settings.ingest_policy
        self._embedding, self._looking, self._searcher = embedding, looking, searcher
        self._pictures, self._pool, self._metrics = pictures, pool, metrics
        self.queue = StoreQueue(name, collection, embedding.encoder.provenance, pool, settings.queue)

    async def take(self, sent: Submission) -> Taken:
        """Store a picture, unless the store has it; return when it can be searched.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        RequestError
            422, if it is refused; 503, if the store cannot be written at the moment.
        """
        try:
            taken = await self._take(sent)
        except (RequestError, ImageError) as problem:
            is_refused = isinstance(problem, ImageError) or problem.status == 422
            self._metrics.ingested.labels("refused" if is_refused else "failed").inc()
            raise
        self._metrics.ingested.labels("created" if taken.created else "known").inc()
        self._metrics.ingest_seconds.observe(taken.seconds)
        return taken

    async def _take(self, sent: Submission) -> Taken:
        begin = time.perf_counter()
        seen = await self._looking.look(sent.data)
        snapshot = self._collection.named(self._name)
        if known := await self._pool.run(_known, snapshot, seen.digest):
            return Taken(snapshot, known, time.perf_counter() - begin)
        texts: Sequence[FloatArray] = await asyncio.gather(*map(self._embedding.text, sent.captions))
        scores = [float(exact_scores(seen.vector[None], text[None])[0]) for text in texts]
        duplicate = await self._duplicate_of(snapshot, seen)
        reasons = (*seen.reasons, *(("duplicate",) if duplicate else ()))
        if reasons and self._policy == "refuse":
            raise RequestError(
                422,
                f"this picture is {', '.join(reasons)}; send another, or start the service with --ingest-policy flag",
                param="file",
                reasons=list(reasons),
                duplicate_of=None if duplicate is None else str(duplicate),
            )
        key = ItemKey(seen.digest, sent.subset)
        make = partial(self._record, key, sent=sent, seen=seen, texts=texts, scores=scores, reasons=reasons)
        snapshot, created = await self.queue.add(key, make)
        alignment = max(scores, default=None)
        return Taken(snapshot, key, time.perf_counter() - begin, created, seen, alignment, duplicate)

    def _record(
        self,
        key: ItemKey,
        writer: StoreWriter,
        *,
        sent: Submission,
        seen: Seen,
        texts: Sequence[FloatArray],
        scores: Sequence[float],
        reasons: Sequence[str],
    ) -> Record:
        """Save the picture in the store under its digest, and return the item's record."""
        file = writer.media.add_bytes(sent.data, f"{sent.subset}/{seen.digest}{seen.ending}")
        attributes: dict[str, Any] = {ADDED: datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        if sent.tags:
            attributes[TAGS] = list(sent.tags)
        if reasons and self._policy == "flag":
            attributes[REASONS] = ", ".join(reasons)
        annotations: list[dict[str, Any]] = [{"type": "Caption", "caption": text} for text in sent.captions]
        captions = [CaptionVector(n, *pair) for n, pair in enumerate(zip(texts, scores, strict=True))]
        detector = "" if self._looking.detector is None else self._looking.detector.fingerprint
        objects = []
        for each in seen.objects:
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
        media = {"type": "image", "file": file, "size": list(seen.size)}
        payload = {"media": media, "annotations": annotations, "attributes": attributes}
        return Record(key, payload, seen.vector, tuple(captions), tuple(objects))

    async def _duplicate_of(self, snapshot: Snapshot, seen: Seen) -> ImageId | None:
        """Return the picture that this one shows again, as ``clip_dedup`` would say."""
        hits = await self._searcher.search([snapshot], seen.vector, _NEAREST, kind="duplicates")
        near = [hit.row for hit in hits if hit.score >= _LEAST_SIMILARITY]
        row = await self._pool.run(self._same_picture, seen, snapshot, near) if near else None
        return None if row is None else ImageId(snapshot.name, snapshot.facts.keys[row])

    def _same_picture(self, seen: Seen, snapshot: Snapshot, rows: Sequence[int]) -> int | None:
        """Return which of some rows has the picture that this one shows again."""
        thumbnails, found, vectors = [square_thumbnail(decode(seen.data))], [], [seen.vector]
        for row in rows:
            try:
                picture = self._pictures.find(snapshot.path, snapshot.described(row).media)
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
