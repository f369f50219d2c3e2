"""Pictures and thumbnails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from datumaro_clip.errors import OptionError
from datumaro_clip.service.filters import Name
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import Picture
from datumaro_clip.service.problems import RequestError, documented
from datumaro_clip.service.responses import bytes_response, is_known
from datumaro_clip.service.serving import Service
from datumaro_clip.service.thumbnails import SIZES

# Only a new export changes the picture of an id: browsers keep it, and ask later whether it has changed.
_CACHE = "private, max-age=300, stale-while-revalidate=86400"
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {}}, "description": "the picture"},
    206: {"description": "a part of it"},
    304: {"description": "it has not changed"},
}


def routes(service: Service) -> APIRouter:
    """Make ``/images`` and ``/thumbnails``."""
    answers = {**documented(404, 416), **_PICTURES}
    router = APIRouter(tags=["pictures"], responses=answers, default_response_class=Response)

    async def find(store: str, subset: str, item: str) -> Picture:
        try:
            image_id = ImageId.parse(f"{store}/{subset}/{item}")
        except OptionError as exc:
            raise RequestError(404, str(exc), param="image_id") from exc
        snapshot = service.collection.named(image_id.store)
        row = await service.pool.run(snapshot.reader.find, image_id.key)
        if row is None:
            raise RequestError(404, "no item has this image_id; searches and ingest give it", param="image_id")
        return service.pictures.find(snapshot.path, snapshot.described(row).media)

    @router.get("/images/{store}/{subset}/{item}", summary="A picture")
    @router.head("/images/{store}/{subset}/{item}", include_in_schema=False)
    @router.get("/images/{store}/{subset}/{item}/{name}", include_in_schema=False)
    @router.head("/images/{store}/{subset}/{item}/{name}", include_in_schema=False)
    async def image(request: Request, store: Name, subset: Name, item: Name) -> Response:
        picture = await find(store, subset, item)
        headers = {"ETag": f'"{picture.tag}"', "Cache-Control": _CACHE}
        if is_known(headers["ETag"], request.headers):
            return Response(status_code=304, headers=headers)
        content, kind = await service.pool.run(picture.read)
        headers["Accept-Ranges"] = "bytes"
        if isinstance(content, Path):
            return FileResponse(content, media_type=kind, headers=headers)
        return bytes_response(content, kind, headers, request.headers)

    @router.get("/thumbnails/{store}/{subset}/{item}", summary="A small JPEG")
    @router.head("/thumbnails/{store}/{subset}/{item}", include_in_schema=False)
    async def thumbnail(
        request: Request,
        store: Name,
        subset: Name,
        item: Name,
        size: Annotated[int, Query(description="longer side in pixels", json_schema_extra={"enum": list(SIZES)})] = 256,
    ) -> Response:
        if size not in SIZES:
            raise RequestError(422, f"thumbnails are of {', '.join(map(str, SIZES))} pixels", param="size")
        picture = await find(store, subset, item)
        headers = {"ETag": f'"{picture.tag}-{size}"', "Cache-Control": _CACHE}
        if is_known(headers["ETag"], request.headers):
            return Response(status_code=304, headers=headers)
        path = await service.pool.run(service.thumbnails.path, picture, size)
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    return router
