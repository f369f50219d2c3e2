"""The page's files, sent with a policy that lets them load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

from datumaro_clip.service.conditional import tagged_response
from datumaro_clip.service.problems import RequestError

_STATIC = Path(__file__).parent / "static"
# The colours of reports are the page's.
_COLOURS = Path(__file__).parents[1] / "report" / "static" / "tokens.css"
_POLICY = "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


class _File(NamedTuple):
    content: bytes
    tag: str
    kind: str


def page_file(name: str, asked: Headers) -> Response:
    """One of the page's files; names are looked up among what there is, never joined to a path.

    A name may begin with the release's digest, as the page's own do: what is at that address never changes, and a
    browser asks for it once. Any other is asked for again each time, and answered in a few bytes.
    """
    release, _, rest = name.partition("/")
    is_of_release = release == _release()
    found = _files().get(rest if is_of_release else name)
    if found is None:
        raise RequestError(404, "there is nothing at this address; the explorer is at /explore")
    kept = "max-age=31536000, immutable" if is_of_release else "no-cache"
    headers = {"ETag": found.tag, "Cache-Control": kept, "Content-Security-Policy": _POLICY}
    return tagged_response(found.content, found.kind, headers, asked)


@cache
def _files() -> dict[str, _File]:
    found = {}
    for path in sorted(_STATIC.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            if path.name == "style.css":
                content = _COLOURS.read_bytes() + content
            if path.name == "index.html":
                content = content.replace(b"</head>", _preloads() + b"</head>")
                content = content.replace(b"explore/static/", f"explore/static/{_release()}/".encode())
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(_STATIC).as_posix()] = _File(content, tag, _TYPES[path.suffix])
    return found


@cache
def _release() -> str:
    """What tells these files from another release's."""
    whole = hashlib.sha256()
    for path in [_COLOURS, *sorted(_STATIC.rglob("*"))]:
        if path.suffix in _TYPES:
            whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def _preloads() -> bytes:
    """Links that have the browser fetch all modules at once, and not each when another that needs it has come."""
    names = (path.relative_to(_STATIC).as_posix() for path in sorted(_STATIC.rglob("*.js")))
    return "".join(f'<link rel="modulepreload" href="explore/static/{name}" />' for name in names).encode()
