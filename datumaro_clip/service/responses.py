"""Responses of bytes, by what the client has already and the part that it wants (RFC 9110), and of the pages' files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from datumaro_clip.service.problems import RequestError

STATIC = Path(__file__).parent / "static"
POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
#: Media types of a page's files by their suffixes.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def is_known(tag: str, asked: Headers) -> bool:
    """Return whether the client has the version with a tag, in quotation marks, already."""
    given = asked.get("if-none-match", "")
    return given == "*" or tag in {each.strip().removeprefix("W/") for each in given.split(",")}


def tagged_response(content: bytes, kind: str, headers: Mapping[str, str], asked: Headers) -> Response:
    """Return bytes as a response whose headers have their ``ETag``; an empty 304 for a client that has them."""
    if is_known(headers["ETag"], asked):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def bytes_response(data: bytes, kind: str, headers: Mapping[str, str], asked: Headers) -> Response:
    """Return bytes, or the one range of them that is requested, as a response; for several ranges, all.

    Raises
    ------
    RequestError
        416, if the range is not in the bytes.
    """
    found = _RANGE.fullmatch(asked.get("range", ""))
    if found is None or found[1] == found[2] == "" or asked.get("if-range", headers["ETag"]) != headers["ETag"]:
        return Response(data, media_type=kind, headers=headers)
    first, last = found[1], found[2]
    start = int(first) if first else max(len(data) - int(last), 0)
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if not 0 <= start < stop:
        raise RequestError(416, f"the picture has {len(data)} bytes; ask for some of those", param="Range")
    headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return Response(data[start:stop], 206, headers, kind)


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
