"""The page's files, sent with a policy by which they load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.responses import TYPES, tag_of, tagged_response

_STATIC = Path(__file__).parent / "static"
# The page has the colours of reports.
_COLOURS = Path(__file__).parents[1] / "report" / "static" / "tokens.css"
_POLICY = "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class _File(NamedTuple):
    content: bytes
    tag: str
    kind: str


def page_file(name: str, asked: Headers) -> Response:
    """Return one of the page's files; a name is looked up among the files, never joined to a path.

    The page names its files with the digest of the release in front: the content of such an address never changes, so
    a browser asks for it once. It asks for any other name each time, and gets a short answer if nothing has changed.
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
        if path.suffix in TYPES:
            content = path.read_bytes()
            if path.name == "style.css":
                content = _COLOURS.read_bytes() + content
            if path.name == "index.html":
                # The browser fetches all modules at once, not each when the one that imports it has arrived.
                modules = (module.relative_to(_STATIC).as_posix() for module in sorted(_STATIC.rglob("*.js")))
                links = (f'<link rel="modulepreload" href="explore/static/{module}" />' for module in modules)
                content = content.replace(b"</head>", "".join(links).encode() + b"</head>")
                content = content.replace(b"explore/static/", f"explore/static/{_release()}/".encode())
            found[path.relative_to(_STATIC).as_posix()] = _File(content, tag_of(content), TYPES[path.suffix])
    return found


@cache
def _release() -> str:
    """Return a digest of all files, which differs from another release's."""
    whole = hashlib.sha256()
    for path in [_COLOURS, *sorted(_STATIC.rglob("*"))]:
        if path.suffix in TYPES:
            whole.update(path.read_bytes())
    return whole.hexdigest()[:16]
