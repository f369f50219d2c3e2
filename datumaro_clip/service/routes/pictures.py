"""Pictures and thumbnails, by look-up in the record only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from datumaro_clip.errors import OptionError
from datumaro_clip.service.conditional import bytes_response, file_response, is_known
from datumaro_clip.service.filters import Name
from datumaro_clip.service.names import ImageId
from datumaro_clip.service.pictures import NotServedError, Picture
from datumaro_clip.service.problems import RequestError, documented
from datumaro_clip.service.serving import Service
from datumaro_clip.service.thumbnails import SIZES

# A picture under its id never changes but by a new export: browsers keep it, and ask whether it has.
_CACHE = "private, max-age=300, stale-while-revalidate=86400"
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/*": {}}, "description": "the picture"},
    206: {"description": "a part of it"},
}


def routes(service: Service) -> APIRouter:
    """``/images`` and ``/thumbnails``."""
    router = APIRouter(tags=["pictures"])
    errors = {**documented(404, 416), **_PICTURES, 304: {"description": "it has not changed"}}

    async def find(store: str, subset: str, item: str) -> Picture:
        try:
            image_id = ImageId.parse(f"{store}/{subset}/{item}")
        except OptionError as exc:
            raise RequestError(404, str(exc), param="image_id") from exc
        snapshot = service.collection.named(image_id.store)
        row = await service.pool.run(snapshot.find, image_id.key)
        if row is None:
            raise RequestError(404, "no item has this image_id; searches and ingest give it", param="image_id")
        try:
            return service.pictures.find(snapshot.path, snapshot.described(row).media)
        except NotServedError as exc:
            raise RequestError(404, str(exc)) from exc

    @router.get("/images/{store}/{subset}/{item}", responses=errors, summary="A picture", response_class=Response)
    @router.head("/images/{store}/{subset}/{item}", include_in_schema=False)
    @router.get("/images/{store}/{subset}/{item}/{name}", include_in_schema=False)
    @router.head("/images/{store}/{subset}/{item}/{name}", include_in_schema=False)
    async def image(request: Request, store: Name, subset: Name, item: Name) -> Response:
        picture = await find(store, subset, item)
        try:
            tag = f'"{picture.tag}"'
            if is_known(tag, request.headers):
                return Response(status_code=304, headers={"ETag": tag, "Cache-Control": _CACHE})
            content, kind = await service.pool.run(picture.read)
        except (NotServedError, OSError) as exc:
            raise RequestError(404, str(exc) if isinstance(exc, NotServedError) else "the picture is gone") from exc
        headers = {"ETag": tag, "Cache-Control": _CACHE, "Accept-Ranges": "bytes"}
        if isinstance(content, Path):
            return file_response(content, kind, headers)
        return bytes_response(content, kind, headers, request.headers)

    @router.get(
        "/thumbnails/{store}/{subset}/{item}", responses=errors, summary="A small JPEG", response_class=Response
    )
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
        try:
            tag = f'"{picture.tag}-{size}"'
            headers = {"ETag": tag, "Cache-Control": _CACHE}
            if is_known(tag, request.headers):
                return Response(status_code=304, headers=headers)
            path = await service.pool.run(service.thumbnails.path, picture, size)
        except FileNotFoundError as exc:
            raise RequestError(404, "the picture is gone; put it back in its place") from exc
        return file_response(path, "image/jpeg", headers)

    return router
