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
    release, files = _files()
    plain = name.removeprefix(f"{release}/")
    if plain not in files:
        raise RequestError(404, "there is nothing at this address; the explorer is at /explore")
    content, tag, kind = files[plain]
    kept = "no-cache" if plain == name else "max-age=31536000, immutable"
    headers = {"ETag": tag, "Cache-Control": kept, "Content-Security-Policy": _POLICY}
    return tagged_response(content, kind, headers, asked)


@cache
def _files() -> tuple[str, dict[str, _File]]:
    """Read all files; return their digest, which differs from another release's, and the files by name."""
    paths = [path for path in sorted(_STATIC.rglob("*")) if path.suffix in TYPES]
    contents = {path.relative_to(_STATIC).as_posix(): path.read_bytes() for path in paths}
    colours = _COLOURS.read_bytes()
    release = hashlib.sha256(colours + b"".join(contents.values())).hexdigest()[:16]
    contents["style.css"] = colours + contents["style.css"]
    # The browser fetches all modules at once, not each when the one that imports it has arrived.
    modules = (name for name in contents if name.endswith(".js"))
    links = "".join(f'<link rel="modulepreload" href="explore/static/{name}" />' for name in modules)
    page = contents["index.html"].replace(b"</head>", links.encode() + b"</head>")
    contents["index.html"] = page.replace(b"explore/static/", f"explore/static/{release}/".encode())
    return release, {
        name: _File(content, tag_of(content), TYPES[Path(name).suffix]) for name, content in contents.items()
    }
