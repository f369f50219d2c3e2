"""Single items, statistics, and the list of stores."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from datumaro_clip.curate.decisions import as_record
from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.described import Described, describe, iso
from datumaro_clip.service.filters import Name
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import NotServedError
from datumaro_clip.service.presenting import Json, box_json, plain
from datumaro_clip.service.problems import documented
from datumaro_clip.service.serving import Service
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.service.statistics import statistics
from datumaro_clip.store import ArchiveMember
from datumaro_clip.system.files import sha256_file

ItemPath = Annotated[str, Path(max_length=4000, description="an image_id, or the item's own id")]
StoreQuery = Annotated[Name | None, Query(description="name of the store, where there are several")]
SubsetQuery = Annotated[Name | None, Query(description="subset, where several have the id")]


def routes(service: Service) -> APIRouter:
    """Make ``/record``, ``/stats`` and ``/stores``."""
    router = APIRouter(tags=["items"])

    @router.get("/record/{id:path}", responses=documented(404, 409), summary="All that is stored of one item")
    async def record(
        request: Request,
        id: ItemPath,
        store: StoreQuery = None,
        subset: SubsetQuery = None,
        vectors: Annotated[bool, Query(description="also return its vectors")] = False,
    ) -> Response:
        snapshot, row = await service.pool.run(service.collection.item, id, store, subset)
        return JSONAnswer(await service.pool.run(_audit, service, request, snapshot, row, vectors))

    @router.delete("/record/{id:path}", responses=documented(404, 409), summary="Remove an item from its store")
    async def delete(id: ItemPath, store: StoreQuery = None, subset: SubsetQuery = None) -> Response:
        service.require_ready()
        snapshot, row = await service.pool.run(service.collection.item, id, store, subset)
        key = snapshot.facts.keys[row]
        await service.ingest[snapshot.name].queue.remove(key)
        return JSONAnswer({"image_id": str(ImageId(snapshot.name, key)), "deleted": True})

    @router.get("/stats", responses=documented(404), summary="Statistics of the stores")
    async def stats(store: StoreQuery = None) -> Response:
        snapshots = service.collection.some(None if store is None else [store])
        return JSONAnswer([await service.pool.run(statistics, snapshot) for snapshot in snapshots])

    @router.get("/stores", responses=documented(), summary="The stores that are served")
    async def stores() -> Response:
        answer = []
        for snapshot in service.collection:
            reader = snapshot.reader
            space = reader.header.space
            answer.append(
                {
                    "name": snapshot.name,
                    "items": len(snapshot),
                    "vectors": reader.embedding_count,
                    "captions": reader.caption_count,
                    "objects": reader.object_count,
                    "subsets": reader.subsets,
                    "space": None if space is None else space.fingerprint,
                    "model": None if space is None else space.model,
                    "version": snapshot.version,
                    "writable": not service.settings.read_only,
                }
            )
        return JSONAnswer(answer)

    return router


def _audit(service: Service, request: Request, snapshot: Snapshot, row: int, with_vectors: bool) -> Json:
    stored = snapshot.reader.record(row)
    described = describe(stored.payload, snapshot.class_names)
    segment, _ = snapshot.reader.locate(row)
    space = snapshot.reader.header.space
    scores = {caption.annotation_index: caption.score for caption in stored.captions}
    captions = {str(caption.annotation_index): caption.vector for caption in stored.captions}
    objects = {found.annotation_index: found.vector for found in stored.objects}
    answer = service.presenter(request).item(snapshot, row, described)
    return {
        **answer,
        "version": snapshot.version,
        "annotations": [plain(annotation) for annotation in described.annotations],
        "captions": [
            {"annotation": c.annotation, "text": c.text, "score": scores.get(c.annotation)} for c in described.captions
        ],
        "objects": [
            {
                **box_json(each),
                "attributes": plain(dict(each.attributes)),
                "has_vector": each.annotation in objects,
                **({"vector": objects.get(each.annotation)} if with_vectors else {}),
            }
            for each in described.objects
        ],
        "attributes": plain(dict(described.attributes)),
        "tags": list(described.tags),
        "added": iso(described.added),
        "space": None if space is None else {"fingerprint": space.fingerprint, "model": space.model},
        "precision": stored.payload.get("precision", segment.entry.precision),
        "device": segment.entry.device,
        "segment": segment.entry.name,
        **_source(service, snapshot, described),
        "decisions": [as_record(one) for one in service.decisions_about(snapshot, row)],
        **({"vectors": {"picture": stored.embedding, "captions": captions}} if with_vectors else {}),
    }


def _source(service: Service, snapshot: Snapshot, described: Described) -> dict[str, Any]:
    """Return where the picture is from, and the SHA-256 of its file where the service may read it."""
    media = {name: value for name, value in described.media.items() if name in ("type", "path", "file", "size")}
    try:
        picture = service.pictures.find(snapshot.path, described.media)
        if isinstance(picture.source, ArchiveMember):
            place = {**media, "archive": picture.source.archive, "member": picture.source.member}
            return {"source": place, "digest": f"sha256:{hashlib.sha256(picture.source()).hexdigest()}"}
        return {"source": media, "digest": f"sha256:{sha256_file(picture.source)}"}
    except (NotServedError, OSError) as exc:
        return {
            "source": media,
            "digest": None,
            "not_served": str(exc) if isinstance(exc, NotServedError) else "missing",
        }
