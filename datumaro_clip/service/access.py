"""Who may ask for what: tokens, sessions of pages, hosts and origins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from datumaro_clip.errors import OptionError, with_cure
from datumaro_clip.service.problems import RequestError, answer_to
from datumaro_clip.service.settings import LOOPBACK, Settings

COOKIE = "datum_clip_session"
SESSION_SECONDS = 12 * 3600
RIGHTS = ("read", "write")

_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/healthz", "/readyz", "/login", "/favicon.ico")
# Requests that change nothing although they are sent by POST; any other may.
_ASKING = ("/search", "/analyze", "/v1/embeddings", "/explore/api/scores")


class Tokens:
    """The service's tokens, and the sessions of pages that logged in with one.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    OptionError
        If the token file cannot be read, or has another form.
    """

    def __init__(self, settings: Settings) -> None:
        pairs = [("read", settings.read_token), ("write", settings.write_token)]
        if settings.token_file is not None:
            pairs += _read(settings.token_file)
        self._digests = [(right, _digest(token)) for right, token in pairs if token]
        self._secret = secrets.token_bytes(32)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def right_of(self, token: str) -> str | None:
        """Return a token's right, ``read`` or ``write``; None if it is unknown. Compares all, each in constant time."""
        wanted = _digest(token)
        rights = [right for right, digest in self._digests if hmac.compare_digest(digest, wanted)]
        return max(rights, default=None, key=RIGHTS.index)

    def begin_session(self, right: str) -> str:
        """Return a cookie's value that gives a right for twelve hours."""
        session = f"{right}.{int(time.time()) + SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{session}.{self._signature(session)}"

    def right_of_session(self, value: str) -> str | None:
        """Return the right of a cookie's value; None unless this process gave it and its time has not ended."""
        session, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._signature(session).encode(), signature.encode("utf-8", "replace")):
            return None
        right, ends, _ = session.split(".")
        return right if int(ends) > time.time() else None

    def _signature(self, session: str) -> str:
        return hmac.new(self._secret, session.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class AccessControl:
    """Refuses requests that are not allowed, before their bodies are read.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    tokens : Tokens
    """

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens) -> None:
        self._app, self._settings, self._tokens = app, settings, tokens
        self._hosts = {name.lower() for name in (*LOOPBACK, *settings.allowed_host)}
        if settings.public_url:
            self._hosts.add((urlsplit(settings.public_url).hostname or "").lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._require_allowed(scope)
        except RequestError as problem:
            return await answer_to(problem, scope["request_id"])(scope, receive, send)
        await self._app(scope, receive, send)

    def _require_allowed(self, scope: Scope) -> None:
        headers, method = Headers(scope=scope), scope["method"]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._require_host(headers)
        if method not in _SAFE:
            self._require_origin(headers)
        if path in _OPEN:
            return
        wanted = "read" if method in _SAFE or (method == "POST" and path.startswith(_ASKING)) else "write"
        if wanted == "write" and self._settings.read_only:
            raise RequestError(403, "this service only reads; start it without --read-only to change stores")
        if self._tokens:
            self._require_right(wanted, headers)

    def _require_host(self, headers: Headers) -> None:
        """Refuse names that are not the service's own, by which a foreign page could reach it without a token."""
        if self._tokens and not self._settings.allowed_host:
            return
        if _host_name(headers.get("host", "")) not in self._hosts:
            raise RequestError(421, "this is no name of this service; name it with --allowed-host", param="Host")

    def _require_origin(self, headers: Headers) -> None:
        """Refuse requests of pages of another origin; programs send no Origin."""
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise RequestError(403, "pages of another origin may not; name it with --cors-origin")
            return
        if origin in self._settings.cors_origin:
            return
        public = urlsplit(self._settings.public_url or "").netloc
        if origin.partition("://")[2] not in {headers.get("host"), public} - {"", None}:
            raise RequestError(403, "pages of another origin may not; name it with --cors-origin", param="Origin")

    def _require_right(self, wanted: str, headers: Headers) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            right = self._tokens.right_of(token.strip())
        else:
            right = self._tokens.right_of_session(_cookies(headers).get(COOKIE, ""))
        if right is None:
            raise RequestError(401, "send Authorization: Bearer TOKEN, or log in at /login")
        if RIGHTS.index(right) < RIGHTS.index(wanted):
            raise RequestError(403, "this token may only read; use one that may write")


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port; empty if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _cookies(headers: Headers) -> Mapping[str, str]:
    """Read the cookies of a request; none if they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _read(path: Path) -> list[tuple[str, str]]:
    """Read a token file: the right and the token of each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise OptionError(f"--token-file {path} cannot be read: {with_cure(exc)}") from exc
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#")]
    if not pairs or any(len(pair) != 2 or pair[0] not in RIGHTS for pair in pairs):
        raise OptionError(f"--token-file {path} wants lines 'read TOKEN' and 'write TOKEN'")
    return [(right, token) for right, token in pairs]


def _digest(token: str) -> bytes:
    """Hash a token, so that all are equally long and comparing them takes equally long."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
