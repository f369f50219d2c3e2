"""The page's own endpoints, beside those of the service; ``docs/explorer.md`` lists them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, Response

from datumaro_clip.curate.tools import MODULES, tool_named
from datumaro_clip.explorer.journal import DECISIONS
from datumaro_clip.explorer.page import page_file
from datumaro_clip.explorer.runs import Run
from datumaro_clip.explorer.shapes import masks, polygons
from datumaro_clip.explorer.workbench import StoreView, Workbench, outdated
from datumaro_clip.index import OBJECTS
from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.described import Described
from datumaro_clip.service.forms import read_form
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import NotServedError
from datumaro_clip.service.presenting import box_json
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.serving import Service
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.system.files import safe_file_name
from datumaro_clip.vectors import FloatArray, ItemKey

Json = dict[str, Any]
Store = Annotated[str | None, Query(description="which store; the first where left out")]
Version = Annotated[str, Query(description="the version of the store that rows are counted in")]
BINARY = "application/octet-stream"
# Rows in one answer about items, and items that a person can decide about at once.
_MOST_ITEMS, _MOST_CHANGES = 500, 1_000_000


class TextQuery(BaseModel):
    """A query to rank rows by: a text, an item, a box of an item, or the mean of several items."""

    text: str | None = Field(default=None, max_length=2000)
    row: int | None = Field(default=None, ge=0)
    box: int | None = Field(default=None, ge=0)
    rows: list[int] | None = Field(default=None, min_length=1, max_length=_MOST_CHANGES)


class PictureQuery(BaseModel):
    """The fields of a form beside its picture: none."""


class Change(BaseModel):
    """One choice about an item, or about one of its annotations."""

    row: int = Field(ge=0)
    action: Literal["keep", "drop", "accept", "tag", "untag", "split", "clear"]
    annotation: int | None = Field(default=None, ge=0)
    tag: str | None = Field(default=None, min_length=1, max_length=200)
    group: int | None = Field(default=None, ge=0)
    tool: str | None = Field(default=None, description="whose proposal it is about, where several tools made one")


class Undo(BaseModel):
    """A request to take back the latest choices: the versions of the journal and of the store that the page shows."""

    version: int = Field(ge=0)
    store: str


class Changes(Undo):
    """Choices that follow these versions; the rows are the store's."""

    changes: list[Change] = Field(min_length=1, max_length=_MOST_CHANGES)


class ToolRun(BaseModel):
    """A tool's options, and the rows to run it on; all where left out."""

    version: str
    options: dict[str, Any] = Field(default_factory=dict)
    rows: list[int] | None = None


class Rows(BaseModel):
    """Rows of a version of the store."""

    version: str
    rows: list[int] = Field(min_length=1)


class Export(Rows):
    """Rows to write, in one of Datumaro's formats, into a new folder."""

    format: str
    path: str = Field(min_length=1, max_length=200)


def routes(service: Service, *, sources: Mapping[str, str] | None = None, report: Path | None = None) -> APIRouter:
    """Make ``/explore`` and what is below it.

    Parameters
    ----------
    service : Service
    sources : mapping, optional
        The datasets, as ``PATH:FORMAT``, that stores were made of, by the stores' names: decisions are about those.
    report : Path, optional
        A directory that a tool's ``--report`` wrote about the first store; its proposals are reviewed on the page.

    Raises
    ------
    DecisionError
        If the report is of another vector space, or of items that the store does not have.
    """
    router = APIRouter(prefix="/explore", tags=["explorer"], include_in_schema=False)
    benches = {
        name: Workbench(
            served, (sources or {}).get(name), service.decisions_folder(served.path), service.settings.media_root
        )
        for name, served in service.collection.stores.items()
    }
    if report is not None:
        next(iter(benches.values())).take_report(report)
    for each in benches.values():
        service.on_stop(each.runs.close)

    def bench(store: str | None) -> Workbench:
        return benches[service.collection.named(store).name]

    def at(store: str | None, version: str) -> StoreView:
        return bench(store).at(version)

    @router.get("")
    async def explore(request: Request, store: Store = None) -> Response:
        answer = page_file("index.html", request.headers)
        answer.headers["Link"] = _asked_first(bench(store), store)
        return answer

    @router.get("/static/{name:path}")
    async def files(request: Request, name: str) -> Response:
        return page_file(name, request.headers)

    @router.get("/api/overview")
    async def overview(store: Store = None) -> Response:
        work = bench(store)
        view = await service.pool.run(work.current)
        return JSONAnswer(await service.pool.run(_overview, service, work, view))

    @router.get("/api/columns")
    async def columns(version: Version, store: Store = None) -> Response:
        return Response(at(store, version).columns.data, media_type=BINARY)

    @router.get("/api/ids")
    async def ids(version: Version, store: Store = None) -> Response:
        content = await service.pool.run(lambda: at(store, version).ids)
        return Response(content, media_type=JSONAnswer.media_type)

    @router.get("/api/objects")
    async def objects(version: Version, store: Store = None) -> Response:
        found = await service.pool.run(lambda: at(store, version).objects)
        labels = [label._asdict() for label in found.labels]
        return JSONAnswer({"count": found.size, "columns": found.columns.specs, "labels": labels})

    @router.get("/api/objects/columns")
    async def columns_of_objects(version: Version, store: Store = None) -> Response:
        found = await service.pool.run(lambda: at(store, version).objects)
        return Response(found.columns.data, media_type=BINARY)

    @router.get("/api/overlap")
    async def overlap(version: Version, store: Store = None) -> Response:
        return JSONAnswer(await service.pool.run(lambda: at(store, version).overlap))

    @router.post("/api/coverage")
    async def coverage(asked: Rows, store: Store = None) -> Response:
        view = at(store, asked.version)
        rows = [_row(view, row) for row in asked.rows]
        return JSONAnswer(await service.pool.run(view.coverage, rows))

    @router.get("/api/items")
    async def items(request: Request, version: Version, rows: str, store: Store = None) -> Response:
        view = at(store, version)
        numbers = rows.split(",")
        if len(numbers) > _MOST_ITEMS or not all(number.isdecimal() for number in numbers):
            raise RequestError(422, f"rows are up to {_MOST_ITEMS} whole numbers, with commas between", param="rows")
        wanted = [_row(view, int(number)) for number in numbers]
        return JSONAnswer(await service.pool.run(_items, service, request, view, wanted))

    @router.get("/api/neighbours")
    async def neighbours(
        version: Version, row: int, k: Annotated[int, Query(ge=1, le=100)] = 8, store: Store = None
    ) -> Response:
        view = at(store, version)
        return JSONAnswer(await service.pool.run(view.neighbours, _row(view, row), k))

    @router.get("/api/words")
    async def words(version: Version, text: Annotated[str, Query(max_length=200)], store: Store = None) -> Response:
        wanted = text.lower().split()
        texts = at(store, version).snapshot.facts.texts
        mask = np.fromiter((all(word in each for word in wanted) for each in texts), np.uint8, len(texts))
        return Response(mask.tobytes(), media_type=BINARY)

    @router.post("/api/scores")
    async def scores(version: Version, query: TextQuery, store: Store = None) -> Response:
        view = at(store, version)
        vector = await _query_vector(service, view, query)
        return Response(await service.pool.run(view.scores, vector), media_type=BINARY)

    @router.post("/api/scores/picture")
    async def scores_of_picture(request: Request, version: Version, store: Store = None) -> Response:
        form = await read_form(request, PictureQuery)
        vector = await service.embedding.picture(form.only_file())
        return Response(await service.pool.run(at(store, version).scores, vector), media_type=BINARY)

    @router.post("/api/tools/{name}")
    async def run_tool(name: str, asked: ToolRun, store: Store = None) -> Response:
        if name not in MODULES:
            raise RequestError(404, f"there is no tool {name}; there are {', '.join(MODULES)}", param="name")
        view = at(store, asked.version)
        if asked.version != bench(store).served.snapshot.version:
            raise outdated()
        rows = None if asked.rows is None else [_row(view, row) for row in asked.rows]
        run = await service.pool.run(bench(store).runs.start, name, asked.options, rows)
        return JSONAnswer({"job": run.id})

    @router.get("/api/jobs/{number}")
    async def job(number: str, store: Store = None) -> Response:
        return JSONAnswer(_run(bench(store), number).as_json())

    @router.delete("/api/jobs/{number}")
    async def cancel(number: str, store: Store = None) -> Response:
        _run(bench(store), number).cancel()
        return Response(status_code=204)

    @router.get("/api/proposals")
    async def proposals(version: Version, store: Store = None) -> Response:
        return JSONAnswer(await service.pool.run(bench(store).proposals, at(store, version)))

    @router.get("/api/decisions")
    async def decisions(version: Version, store: Store = None) -> Response:
        return JSONAnswer(await service.pool.run(bench(store).decided, at(store, version)))

    @router.post("/api/decisions")
    async def decide(asked: Changes, store: Store = None) -> Response:
        work, view = bench(store), at(store, asked.store)
        changes = [change.model_dump() for change in asked.changes]
        for change in changes:
            _row(view, change["row"])
        await service.pool.run(work.decide, view, changes, asked.version)
        return JSONAnswer(await service.pool.run(work.decided, view))

    @router.post("/api/undo")
    async def undo(asked: Undo, store: Store = None) -> Response:
        work, view = bench(store), at(store, asked.store)
        await service.pool.run(work.journal.undo, asked.version)
        return JSONAnswer(await service.pool.run(work.decided, view))

    @router.get("/api/decisions.jsonl")
    async def decisions_file(store: Store = None) -> Response:
        path = bench(store).directory / DECISIONS
        if not path.exists():
            raise RequestError(404, "nothing is decided yet; keep or drop a picture first")
        return FileResponse(path, media_type="application/x-ndjson", filename=DECISIONS)

    @router.get("/api/formats")
    async def formats() -> Response:
        return JSONAnswer(await service.pool.run(_formats))

    @router.post("/api/export")
    async def export(asked: Export, store: Store = None) -> Response:
        view = at(store, asked.version)
        keys = [view.snapshot.facts.keys[_row(view, row)] for row in asked.rows]
        target = _new_folder(bench(store).directory / "exports", asked.path)
        await service.pool.run(_export, view.snapshot.path, keys, asked.format, target)
        return JSONAnswer({"path": str(target)})

    return router


def _asked_first(work: Workbench, store: str | None) -> str:
    """Return a Link header by which the browser requests the page's data while it loads the page's modules."""
    named = {} if store is None else {"store": store}
    paths = [f"overview?{urlencode(named)}" if named else "overview"]
    if work.has(version := work.served.snapshot.version):
        paths += [f"{name}?{urlencode({'version': version} | named)}" for name in ("columns", "ids")]
    return ", ".join(f"<explore/api/{path}>; rel=preload; as=fetch; crossorigin=anonymous" for path in paths)


def _new_folder(root: Path, name: str) -> Path:
    """Return a new folder below the exports; raise a RequestError if it is there, or its name is no plain name."""
    if safe_file_name(name) != name:
        raise RequestError(422, "the folder is a plain name, without slashes", param="path")
    if (root / name).exists():
        raise RequestError(422, f"there is a folder {name} already; name another", param="path")
    return root / name


def _formats() -> list[str]:
    from datumaro_clip.host.exporting import export_formats  # Imported here because it loads Datumaro.

    return export_formats()


def _export(store: Path, keys: list[ItemKey], format: str, path: Path) -> None:
    from datumaro_clip.host.exporting import export_items  # Imported here because it loads Datumaro.

    if format not in (known := _formats()):
        raise RequestError(422, f"the format is one of {', '.join(known)}", param="format")
    export_items(store, keys, format, path)


def _overview(service: Service, work: Workbench, view: StoreView) -> Json:
    snapshot = view.snapshot
    space = snapshot.reader.header.space
    scores = snapshot.facts.numbers["alignment"]
    known = scores[~np.isnan(scores)]
    target = work.directory / DECISIONS
    return {
        "name": snapshot.name,
        "path": str(snapshot.path),
        "count": len(snapshot),
        "version": snapshot.version,
        "model": None if space is None else space.model,
        "columns": view.columns.specs,
        "labels": [label._asdict() for label in view.regions.labels],
        "objects": len(snapshot.index.targets[OBJECTS]),
        "stores": list(service.collection.stores),
        "caption_range": [float(known.min()), float(known.max())] if len(known) else None,
        "tools": [tool_named(name).describe() for name in MODULES],
        "writable": not service.settings.read_only,
        "apply_command": shlex.join(["datum-clip", "decisions", "apply", str(target), *work.applied_to]),
    }


def _items(service: Service, request: Request, view: StoreView, rows: list[int]) -> list[Json]:
    snapshot, presenter = view.snapshot, service.presenter(request)
    found = []
    for row in rows:
        told = snapshot.described(row)
        image_id = ImageId(snapshot.name, snapshot.facts.keys[row])
        url = presenter.image_url(snapshot, image_id, told)
        height, width = told.size or (None, None)
        stored = snapshot.reader.record(row).captions if told.captions else ()
        scores = {caption.annotation_index: caption.score for caption in stored}
        found.append(
            {
                "row": row,
                "image_id": str(image_id),
                "image_url": url,
                "thumbnail_url": url and presenter.thumbnail_url(image_id),
                "why": None if url else _why_not(service, snapshot, told),
                "width": width,
                "height": height,
                "file": str(told.media.get("path", "")).rsplit("/", 1)[-1],
                "captions": [
                    {"text": each.text, "annotation": each.annotation, "score": scores.get(each.annotation)}
                    for each in told.captions
                ],
                "labels": list(told.labels),
                "boxes": [{**box_json(each), "confidence": each.confidence} for each in told.objects],
                "polygons": polygons(told, snapshot.class_names),
                "masks": masks(told, snapshot.class_names),
            }
        )
    return found


def _why_not(service: Service, snapshot: Snapshot, told: Described) -> str:
    """Return why a picture cannot be shown."""
    try:
        service.pictures.find(snapshot.path, told.media)
    except NotServedError as exc:
        return str(exc)
    return ""


async def _query_vector(service: Service, view: StoreView, query: TextQuery) -> FloatArray:
    """Return the vector (D,) of a page's query."""
    if query.text is not None:
        return await service.embedding.text(query.text)
    snapshot = view.snapshot
    if query.rows is not None:
        return await service.pool.run(view.mean_vector, [_row(view, row) for row in query.rows])
    if query.row is None:
        raise RequestError(422, "give a text, a row or rows", param="text")
    row = _row(view, query.row)
    if query.box is None:
        vector = await service.pool.run(snapshot.vector, row)
        if vector is None:
            raise RequestError(422, "this item has no vector to compare with", param="row")
        return np.asarray(vector, np.float32)
    told = snapshot.described(row)
    if query.box >= len(told.objects):
        raise RequestError(422, f"this item has {len(told.objects)} boxes", param="box")
    box = told.objects[query.box]
    objects = snapshot.index.targets[OBJECTS]
    held = np.flatnonzero((objects.items == row) & (objects.annotations == box.annotation))
    if len(held):
        return np.asarray(objects.vectors[held][0], np.float32)
    picture = service.pictures.find(snapshot.path, told.media)
    return await service.embedding.picture(picture.content, box.bbox)


def _row(view: StoreView, row: int) -> int:
    """Return a row; raise a RequestError if the view has none of that number."""
    count = len(view.snapshot)
    if not 0 <= row < count:
        raise RequestError(422, f"there is no row {row}; rows are from 0 to {count - 1}", param="row")
    return row


def _run(work: Workbench, number: str) -> Run:
    if number not in work.runs.all:
        raise RequestError(404, "there is no such run; start one with POST tools/NAME", param="number")
    return work.runs.all[number]
