"""Storing new pictures, and analysing pictures without storing them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from datumaro_clip.service.analysis import DetectedObject
from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.filters import Name, Strict
from datumaro_clip.service.forms import Form, form_body, read_form
from datumaro_clip.service.ingest import IngestResult, Submission
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.presenting import Json, Presenter, object_json
from datumaro_clip.service.problems import RequestError, as_problem, documented
from datumaro_clip.service.schemas import Analysis, IngestAnswer, IngestFailure
from datumaro_clip.service.serving import Service


class IngestForm(Strict):
    """The fields of a form beside its pictures."""

    caption: list[Annotated[str, Field(max_length=2000)]] = Field(
        default=[], max_length=20, description="a caption of the picture; may be repeated"
    )
    tags: str = Field(default="", max_length=2000, description="tags, separated by commas")
    subset: str = Field(default="ingested", max_length=200, min_length=1, description="subset of the new item")
    store: Name | SkipJsonSchema[None] = Field(default=None, description="store to add it to; the first if omitted")
    vectors: bool = Field(default=False, description="also return the vectors")


class NoFields(Strict):
    """A form with nothing beside its picture."""


def routes(service: Service) -> APIRouter:
    """Make the endpoints below ``/ingest``, and ``/analyze``."""
    router = APIRouter(tags=["ingest"])

    async def add(form: Form[IngestForm], data: bytes) -> IngestResult:
        values = form.values
        tags = tuple(part for part in (part.strip() for part in values.tags.split(",")) if part)
        captions = tuple(caption for caption in values.caption if caption.strip())
        return await service.ingest_of(values.store).add(Submission(data, captions, tags, values.subset))

    @router.post(
        "/ingest/image",
        response_model=IngestAnswer,
        responses=documented(404),
        openapi_extra={"requestBody": form_body(IngestForm)},
        summary="Add a picture; the answer comes once it is stored and searchable",
    )
    async def ingest_image(request: Request) -> Response:
        service.require_ready()
        form = await read_form(request, IngestForm)
        result = await add(form, form.only_file())
        return JSONAnswer(_answer(service.presenter(request), result, form.values.vectors))

    @router.post(
        "/ingest/batch",
        response_model=list[IngestAnswer | IngestFailure],
        responses=documented(404),
        openapi_extra={"requestBody": form_body(IngestForm, many=True)},
        summary="Add several pictures; each has its own answer",
    )
    async def ingest_batch(request: Request) -> Response:
        service.require_ready()
        form = await read_form(request, IngestForm, service.settings.max_batch)
        if not form.files:
            raise RequestError(422, "the form has no part 'file'; send one a picture", param="file")
        if any(len(data) > service.settings.max_upload for data in form.files):
            raise RequestError(413, f"a picture is larger than {service.settings.max_upload} bytes", param="file")
        service.ingest_of(form.values.store)
        results = await asyncio.gather(*(add(form, data) for data in form.files), return_exceptions=True)
        presenter = service.presenter(request)
        answers = []
        for result in results:
            if isinstance(result, IngestResult):
                answers.append(_answer(presenter, result, form.values.vectors))
            elif isinstance(result, Exception):
                answers.append(as_problem(result).as_json)
            else:
                raise result
        return JSONAnswer(answers)

    @router.post(
        "/analyze",
        response_model=Analysis,
        responses=documented(),
        openapi_extra={"requestBody": form_body(NoFields)},
        summary="Detect and embed a picture without storing it",
    )
    async def analyze(request: Request) -> Response:
        service.require_ready()
        form = await read_form(request, NoFields)
        begin = time.perf_counter()
        analysis = await service.analyzer.analyze(form.only_file())
        provenance = service.embedding.encoder.provenance
        return JSONAnswer(
            {
                "size": analysis.size,
                "vector": analysis.vector,
                "objects": _objects(analysis.objects),
                "reasons": analysis.reasons,
                "space": provenance.space.fingerprint,
                "precision": provenance.precision,
                "processing_time": time.perf_counter() - begin,
            }
        )

    return router


def _answer(presenter: Presenter, result: IngestResult, with_vectors: bool) -> Json:
    snapshot, analysis = result.snapshot, result.analysis
    row = snapshot.reader.find(result.key)
    image_id = ImageId(snapshot.name, result.key)
    # Another request may have removed it again already.
    described = None if row is None else snapshot.described(row)
    answer: Json = {
        "image_id": str(image_id),
        "image_url": None if described is None else presenter.image_url(snapshot, image_id, described),
        "num_detections": len(analysis.objects) if analysis else len(described.objects) if described else 0,
        "processing_time": result.seconds,
        "created": result.created,
        "alignment": result.alignment,
        "reasons": list(analysis.reasons) if analysis else [],
        "duplicate_of": None if result.duplicate_of is None else str(result.duplicate_of),
    }
    if with_vectors and analysis is not None:
        answer |= {"vector": analysis.vector, "objects": _objects(analysis.objects)}
    return answer


def _objects(objects: Sequence[DetectedObject]) -> list[Json]:
    return [
        {**object_json(index, each.corners, each.class_name, each.confidence), "vector": each.vector}
        for index, each in enumerate(objects)
    ]
