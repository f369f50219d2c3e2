"""Files of the service's own pages, sent with a policy by which they load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from datumaro_clip.service.conditional import tagged_response
from datumaro_clip.service.problems import RequestError

STATIC = Path(__file__).parent / "static"
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
#: Media types of a page's files by their suffixes.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


def page(name: str, *, allow_inline_style: bool = False) -> Response:
    """Return a page; Swagger UI sets styles on its elements, which only its page allows."""
    content, _ = _read(name)
    policy = POLICY + ("; style-src 'self' 'unsafe-inline'" if allow_inline_style else "")
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": policy})


def file(name: str, asked: Headers) -> Response:
    """Return a script, style or picture of a page."""
    content, tag = _read(name)
    headers = {"ETag": tag, "Cache-Control": "public, max-age=3600", "Content-Security-Policy": POLICY}
    return tagged_response(content, TYPES.get(Path(name).suffix, "text/plain"), headers, asked)


def tag_of(content: bytes) -> str:
    """Return the ``ETag`` of a file's content."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return a file's content and tag; a name is looked up among the files, never joined to a path."""
    known = {path.name: path for path in STATIC.rglob("*") if path.is_file()}
    if name not in known:
        raise RequestError(404, "there is nothing at this address; /docs lists what there is")
    content = known[name].read_bytes()
    return content, tag_of(content)
