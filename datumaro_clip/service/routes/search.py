"""Search by text, picture, item and object."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.described import describe
from datumaro_clip.service.filters import Name
from datumaro_clip.service.forms import form_body, read_form, refusals
from datumaro_clip.service.pictures import NotServedError
from datumaro_clip.service.problems import RequestError, documented
from datumaro_clip.service.schemas import (
    Count,
    HitAnswer,
    HybridRequest,
    ObjectSearchRequest,
    SearchRequest,
    SimilarRequest,
    TargetName,
    Text,
    Wanted,
)
from datumaro_clip.service.serving import Service
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.vectors import FloatArray


def routes(service: Service) -> APIRouter:
    """Make the endpoints below ``/search``."""
    router = APIRouter(tags=["search"], responses=documented(404, 409))

    async def by_vector(
        request: Request,
        vector: FloatArray,
        wanted: Wanted,
        target: str,
        kind: str,
        *,
        group: bool = True,
        without: tuple[Snapshot, int] | None = None,
    ) -> Response:
        snapshots = service.collection.some(wanted.stores)
        hits = await service.searcher.search(
            snapshots, vector, wanted.top_k, target=target, filters=wanted, group=group, kind=kind, without=without
        )
        presenter = service.presenter(request)
        with service.metrics.stage(kind, "records"):
            return JSONAnswer([presenter.hit(hit, vector, target, wanted, group=group) for hit in hits])

    async def by_text(
        request: Request, text: str, wanted: Wanted, target: str, kind: str, *, group: bool = True
    ) -> Response:
        service.require_ready()
        with service.metrics.stage(kind, "embed"):
            vector = await service.embedding.text(text)
        return await by_vector(request, vector, wanted, target, kind, group=group)

    @router.post("/search", response_model=list[HitAnswer], summary="Search by text")
    async def search(request: Request, wanted: SearchRequest) -> Response:
        return await by_text(request, wanted.query, wanted, wanted.target, "text")

    @router.get("/search/text", response_model=list[HitAnswer], summary="Search by text")
    async def search_text(
        request: Request,
        q: Annotated[Text, Query(description="the text to search for")],
        k: Annotated[Count, Query()] = 10,
        target: Annotated[TargetName, Query()] = "pictures",
        subset: Annotated[Name | None, Query(description="search this subset only")] = None,
        store: Annotated[Name | None, Query(description="search this store only")] = None,
    ) -> Response:
        wanted = Wanted(top_k=k, subsets=[] if subset is None else [subset], stores=None if store is None else [store])
        return await by_text(request, q, wanted, target, "text")

    @router.post("/search/objects", response_model=list[HitAnswer], summary="Search the objects in pictures")
    async def search_objects(request: Request, wanted: ObjectSearchRequest) -> Response:
        return await by_text(request, wanted.query, wanted, "objects", "objects", group=wanted.group)

    @router.post("/search/hybrid", response_model=list[HitAnswer], summary="Search by text with filters")
    async def search_hybrid(request: Request, wanted: HybridRequest) -> Response:
        return await by_text(request, wanted.text_query, wanted, wanted.target, "hybrid")

    @router.post(
        "/search/similar",
        response_model=list[HitAnswer],
        openapi_extra={"requestBody": _SIMILAR_BODY},
        summary="Search by picture: an uploaded one, or an item",
    )
    async def search_similar(request: Request) -> Response:
        service.require_ready()
        if request.headers.get("content-type", "").startswith("application/json"):
            body = await request.body()
            with refusals():
                wanted = SimilarRequest.model_validate_json(body)
            snapshot, row = await service.pool.run(service.collection.item, wanted.id, wanted.store, wanted.subset)
            vector = await item_vector(snapshot, row, wanted.annotation)
            without = (snapshot, row) if wanted.annotation is None and wanted.target == "pictures" else None
            return await by_vector(request, vector, wanted, wanted.target, "similar", without=without)
        form = await read_form(request, SimilarForm)
        with service.metrics.stage("similar", "embed"):
            vector = await service.embedding.picture(form.only_file())
        return await by_vector(request, vector, form.values, form.values.target, "similar")

    async def item_vector(snapshot: Snapshot, row: int, annotation: int | None) -> FloatArray:
        """Return an item's vector, or an object's, which is computed where the store has none."""
        record = await service.pool.run(snapshot.reader.record, row)
        if annotation is None:
            if record.embedding is None:
                raise RequestError(422, "this item has no vector; its picture was not embedded", param="id")
            return record.embedding
        stored = next((o.vector for o in record.objects if o.annotation_index == annotation), None)
        if stored is not None:
            return stored
        described = describe(record.payload, snapshot.class_names)
        box = next((each.bbox for each in described.objects if each.annotation == annotation), None)
        if box is None:
            raise RequestError(404, "the item has no box with this index; /record lists them", param="annotation")
        try:
            picture = service.pictures.find(snapshot.path, described.media)
        except NotServedError as exc:
            raise RequestError(
                422, f"this box has no vector, and none can be computed: {exc}", param="annotation"
            ) from exc
        return await service.embedding.picture(picture.content, box)

    return router


class SimilarForm(Wanted):
    """The fields of a form beside the picture."""

    top_k: Count = 10
    target: TargetName = "pictures"


_JSON = {"schema": SimilarRequest.model_json_schema(ref_template="#/components/schemas/{model}")}
_SIMILAR_BODY = {"required": True, "content": {"application/json": _JSON, **form_body(SimilarForm)["content"]}}
