"""HTTP requests for pictures; addresses are checked when connections are made. The only module that imports httpx."""

from __future__ import annotations

import io
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from PIL import Image

from datumaro_clip.errors import AddressError, MissingDependencyError
from datumaro_clip.images.decoding import MAX_PIXELS
from datumaro_clip.system.addresses import Network, public_addresses
from datumaro_clip.system.machine import library_version

try:
    import httpcore
    import httpx
except ModuleNotFoundError as exc:
    raise MissingDependencyError("httpx", "download", "fetching pictures") from exc

# 408 Request Timeout, 425 Too Early, 429 Too Many Requests, and statuses of servers that are down for a while.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_REFUSALS = ("noai", "noimageai")
# Bytes after which a picture's size is first read.
_FIRST_LOOK = 4096


@dataclass(frozen=True)
class Limits:
    """Limits of an answer.

    Attributes
    ----------
    seconds : float
        From the request to the last byte.
    bytes, pixels : int
    """

    seconds: float = 30.0
    bytes: int = 1 << 26
    pixels: int = MAX_PIXELS


class Answer(NamedTuple):
    """The outcome of a request.

    Attributes
    ----------
    error : str
        A short reason; empty on success.
    message : str
    http_status : int, optional
    data : bytes
    is_transient : bool
        Whether another try may succeed.
    wait : float, optional
        Seconds that the server asks to wait.
    is_busy : bool
        Whether to wait before any request to this host.
    """

    error: str = ""
    message: str = ""
    http_status: int | None = None
    data: bytes = b""
    is_transient: bool = False
    wait: float | None = None
    is_busy: bool = False


class Client:
    """Downloads pictures; many threads may use it.

    Parameters
    ----------
    limits : Limits
    allowed : sequence of network
        Private networks that may be connected to.
    connections : int
        The most open at a time.
    contact : str
        Added to the User-Agent.
    proxy : str, optional
    ignores_noai : bool
    redirects : bool
        Whether to follow redirects.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        allowed: tuple[Network, ...] = (),
        connections: int = 16,
        contact: str = "",
        proxy: str | None = None,
        ignores_noai: bool = False,
        redirects: bool = True,
    ) -> None:
        self._limits, self._ignores_noai = limits, ignores_noai
        purpose = f"dataset fetcher; {contact}" if contact else "dataset fetcher"
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(proxy=proxy, trust_env=False) if proxy else _Guarded(allowed, connections),
            headers={
                "User-Agent": f"datumaro-clip/{library_version('datumaro-clip')} ({purpose})",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
            },
            timeout=httpx.Timeout(min(limits.seconds, _CONNECT_SECONDS)),
            follow_redirects=redirects,
            max_redirects=_MOST_REDIRECTS,
            trust_env=False,
            cookies=_NoCookies(),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, url: str) -> Answer:
        """Make one request; every error is an answer, too."""
        try:
            with self._client.stream("GET", url) as response:
                return self._read(response, time.monotonic() + self._limits.seconds)
        except AddressError as exc:
            return Answer("forbidden_address", str(exc))
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as exc:
            return Answer("unsupported_address", f"{exc}; only http and https are fetched")
        except httpx.TooManyRedirects:
            return Answer("too_many_redirects", f"more than {_MOST_REDIRECTS} redirects")
        except httpx.TimeoutException:
            return Answer("timeout", "no answer in time", is_transient=True)
        except httpx.RemoteProtocolError as exc:
            return Answer("wrong_length", str(exc), is_transient=True)
        except (httpx.HTTPError, OSError, ssl.SSLError) as exc:
            return Answer("connection", str(exc) or type(exc).__name__, is_transient=True)

    def _read(self, response: httpx.Response, deadline: float) -> Answer:
        status = response.status_code
        if status != 200:
            busy, wait = status in _BUSY, _retry_after(response.headers.get("Retry-After"))
            message = f"the server says {status} {response.reason_phrase}"
            return Answer(f"http_{status}", message, status, b"", status in _TRANSIENT, wait, busy)
        # A tag applies to all robots, or to one named before a colon.
        tags = response.headers.get_list("X-Robots-Tag", split_commas=True)
        if not self._ignores_noai and any(tag.rpartition(":")[2].strip().lower() in _REFUSALS for tag in tags):
            return Answer("noai", "X-Robots-Tag refuses use for machine learning; --ignore-noai", status)
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > self._limits.bytes:
            return Answer("too_many_bytes", f"{int(length)} bytes, at most {self._limits.bytes}", status)
        data, look = bytearray(), _FIRST_LOOK
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > self._limits.bytes:
                return Answer("too_many_bytes", f"more than {self._limits.bytes} bytes", status)
            if time.monotonic() > deadline:
                return Answer("timeout", f"not done within {self._limits.seconds:g} seconds", status, is_transient=True)
            if len(data) >= look:
                look = 4 * len(data)
                if (pixels := _pixels_of(data)) > self._limits.pixels:
                    return Answer("too_many_pixels", f"{pixels} pixels, at most {self._limits.pixels}", status)
        return Answer(http_status=status, data=bytes(data))


def _pixels_of(data: bytearray) -> int:
    """Return the number of pixels by the beginning of a picture; 0 if it is too short to tell."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.width * picture.height
    except Image.DecompressionBombError:
        return 1 << 62
    except Exception:  # Pillow's readers raise errors of almost any type for an incomplete picture.
        return 0


def _retry_after(value: str | None) -> float | None:
    """Return the seconds to wait, given as seconds or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


class _NoCookies(httpx.Cookies):
    """Keeps no cookies."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignore the cookies that a server sets."""


class _Guarded(httpx.HTTPTransport):
    """Connects only to addresses that were checked."""

    def __init__(self, allowed: tuple[Network, ...], connections: int) -> None:
        super().__init__(trust_env=False)
        # httpx has no way to name a network backend; its pool is one attribute.
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=connections,
            network_backend=_CheckedBackend(allowed),
        )


class _CheckedBackend(httpcore.SyncBackend):
    def __init__(self, allowed: tuple[Network, ...]) -> None:
        super().__init__()
        self._allowed = allowed

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Look up the name, check its addresses, and connect to one of them."""
        failure: Exception = OSError(f"{host} has no address")
        for address in public_addresses(host, port, self._allowed):
            try:
                return super().connect_tcp(address, port, *args, **kwargs)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    def connect_unix_socket(self, path: str, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Refuse to connect."""
        raise AddressError(f"{path} is no address on the network")
