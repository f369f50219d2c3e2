"""Pictures taken in: looked at, judged, committed, searchable, and only then answered."""

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

# Pictures that may be shown again: the nearest, as `clip_dedup` proposes them by vectors.
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
    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    subset: str = "ingested"


@dataclass(frozen=True, eq=False)
class Taken:
    """A picture that is in the store.

    Attributes
    ----------
    snapshot : Snapshot
        Has it.
    key : ItemKey
    created : bool
        Whether it was not there before.
    seen : Seen or None
        What was seen in it; None if it was there.
    alignment : float or None
        Score of its best caption.
    duplicate_of : ImageId or None
    seconds : float
    """

    snapshot: Snapshot
    key: ItemKey
    created: bool
    seen: Seen | None
    alignment: float | None
    duplicate_of: ImageId | None
    seconds: float


class Ingest:
    """Takes pictures into one store.

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
        Say what becomes of what is not as it should be, and how many writes may wait.
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
        """Take a picture in.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        RequestError
            422, if it is refused; 503, if the store cannot be written at the moment.
        """
        begin = time.perf_counter()
        try:
            taken = await self._take(sent, begin)
        except RequestError as problem:
            self._metrics.ingested.labels("refused" if problem.status == 422 else "failed").inc()
            raise
        except ImageError:
            self._metrics.ingested.labels("refused").inc()
            raise
        self._metrics.ingested.labels("created" if taken.created else "known").inc()
        self._metrics.ingest_seconds.observe(taken.seconds)
        return taken

    async def remove(self, key: ItemKey) -> bool:
        """Take an item out of the store; whether there was one."""
        return await self.queue.remove(key)

    async def _take(self, sent: Submission, begin: float) -> Taken:
        seen = await self._looking.look(sent.data)
        snapshot = self._collection.named(self._name)
        if known := await self._pool.run(_known, snapshot, seen.digest):
            return Taken(snapshot, known, False, None, None, None, time.perf_counter() - begin)
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
        make = partial(self._record, sent=sent, seen=seen, texts=texts, scores=scores, reasons=reasons, key=key)
        snapshot, created = await self.queue.add(key, make)
        alignment = max(scores, default=None)
        return Taken(snapshot, key, created, seen, alignment, duplicate, time.perf_counter() - begin)

    def _record(
        self,
        writer: StoreWriter,
        sent: Submission,
        seen: Seen,
        texts: Sequence[FloatArray],
        scores: Sequence[float],
        reasons: Sequence[str],
        key: ItemKey,
    ) -> Record:
        """The item as the store keeps it; its picture is put there under its digest."""
        file = writer.media.add_bytes(sent.data, f"{sent.subset}/{seen.digest}{seen.ending}")
        captions = [{"type": "Caption", "caption": text} for text in sent.captions]
        attributes: dict[str, Any] = {ADDED: datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        if sent.tags:
            attributes[TAGS] = list(sent.tags)
        if reasons and self._policy == "flag":
            attributes[REASONS] = ", ".join(reasons)
        detector = "" if self._looking.detector is None else self._looking.detector.fingerprint
        boxes = [
            {
                "type": "Bbox",
                "points": list(each.corners),
                "label": add_class(writer, each.class_name),
                "attributes": {"score": each.confidence, "clip_detector": detector},
            }
            for each in seen.objects
        ]
        objects = []
        for n, o in enumerate(seen.objects, len(captions)):
            confidence = min(max(o.confidence, 0.0), 1.0)
            objects.append(ObjectVector(n, o.vector, o.corners, o.class_name, confidence, detector, o.source))
        return Record(
            key,
            {
                "media": {"type": "image", "file": file, "size": list(seen.size)},
                "annotations": [*captions, *boxes],
                "attributes": attributes,
            },
            seen.vector,
            tuple(CaptionVector(n, v, s) for n, (v, s) in enumerate(zip(texts, scores, strict=True))),
            tuple(objects),
        )

    async def _duplicate_of(self, snapshot: Snapshot, seen: Seen) -> ImageId | None:
        """The picture that this one shows again, as `clip_dedup` would say."""
        hits = await self._searcher.search([snapshot], seen.vector, _NEAREST, kind="duplicates")
        near = [hit for hit in hits if hit.score >= _LEAST_SIMILARITY]
        row = await self._pool.run(self._same_picture, seen, snapshot, [hit.row for hit in near]) if near else None
        return None if row is None else ImageId(snapshot.name, snapshot.facts.keys[row])

    def _same_picture(self, seen: Seen, snapshot: Snapshot, rows: Sequence[int]) -> int | None:
        thumbnails, found, vectors = [square_thumbnail(decode(seen.data))], [], [seen.vector]
        for row in rows:
            try:
                picture = self._pictures.find(snapshot.path, snapshot.described(row).media)
                thumbnail = square_thumbnail(decode(picture.content))
            except (NotServedError, ImageError):  # What cannot be seen can be nobody's duplicate.
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
    """The item that these bytes are already, in whatever subset."""
    keys = (ItemKey(digest, subset) for subset in snapshot.reader.subsets)
    return next((key for key in keys if snapshot.find(key) is not None), None)
