"""Pictures that a request names: by data URIs, or by URLs of hosts that the settings allow."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from datumaro_clip.service.pool import Pool
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.settings import Settings

if TYPE_CHECKING:
    from datumaro_clip.tables.fetch.client import Client


class NamedPictures:
    """Gets the bytes of pictures that a request names by a URL.

    Parameters
    ----------
    settings : Settings
    pool : Pool
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._hosts, self._most_bytes = {host.lower() for host in settings.allow_fetch}, settings.max_upload
        self._pool = pool

    async def get(self, url: str) -> bytes:
        """Return the bytes of a picture.

        Raises
        ------
        RequestError
            400, unless it is a data URI or the URL of an allowed host, or if it cannot be fetched.
        """
        if url.startswith("data:"):
            return _data(url)
        if not self._is_allowed(url):
            raise RequestError(400, "a picture is a data URI, as in data:image/jpeg;base64,…", param="input")
        answer = await self._pool.run(self._client.get, url)
        if answer.error:
            message = f"a picture cannot be fetched ({answer.error}); send it as a data URI"
            raise RequestError(400, message, param="input")
        return answer.data

    def _is_allowed(self, url: str) -> bool:
        try:
            found = urlsplit(url)
            return found.scheme in ("http", "https") and (found.hostname or "").lower() in self._hosts
        except ValueError:
            return False

    @cached_property
    def _client(self) -> Client:
        """The client, which connects to public addresses only and follows no redirects."""
        # Imported here because it needs the extra "download", which a service that fetches nothing does without.
        from datumaro_clip.tables.fetch.client import Client, Limits

        return Client(Limits(bytes=self._most_bytes), redirects=False)


def _data(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not head.endswith(";base64") or not comma:
        raise RequestError(400, "a picture's data URI is base64, as in data:image/jpeg;base64,…", param="input")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as exc:
        raise RequestError(400, "a picture's data URI is not base64", param="input") from exc
