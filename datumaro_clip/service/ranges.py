"""Parts of what is in memory, as the ``Range`` header asks for them."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import Response

from datumaro_clip.service.problems import RequestError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def bytes_response(data: bytes, kind: str, headers: dict[str, str], asked: Headers) -> Response:
    """Bytes as a response, or the one range of them that is asked for; several ranges get all.

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
