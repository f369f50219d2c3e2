"""Responses that depend on what the client has already and on the part that it wants: ETags and ranges (RFC 9110)."""

from __future__ import annotations

import email.utils
import os
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response

from datumaro_clip.service.problems import RequestError

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


def file_response(path: Path, kind: str, headers: Mapping[str, str]) -> Response:
    """Return a file, or the ranges of it that are requested, as a response."""
    status = os.stat(path)
    modified = email.utils.formatdate(status.st_mtime, usegmt=True)
    return FileResponse(path, media_type=kind, stat_result=status, headers={**headers, "Last-Modified": modified})


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
