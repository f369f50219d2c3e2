"""Everything that can be set about the service: one table for Python, the command line and the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from datumaro_clip.errors import OptionError
from datumaro_clip.system.machine import available_processors

PREFIX = "DATUMARO_CLIP_SERVE_"
POLICIES = ("accept", "flag", "refuse")
# Sizes and numbers, and seconds.
_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("max_upload", "max_batch", "queue", "text_cache"), 1),
    **dict.fromkeys(("port", "threads", "stop_timeout"), 0),
    **dict.fromkeys(("reload_interval", "stall_timeout"), 0.01),
}
# What a variable of the environment says of a setting that is on or off.
_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Told(NamedTuple):
    """What the command line's help says of a setting, and what it calls the value."""

    help: str
    metavar: str | None = None


@dataclass(frozen=True)
class Settings:
    """What a service may do, and how much of it at a time.

    The attributes are the options of ``datum-clip serve``, described there; sizes are bytes, times seconds.

    Raises
    ------
    OptionError
        If a value makes no sense, or the service would be open to a network without a token.
    """

    model: Annotated[str | None, Told("model of the queries (default: the model of the stores)")] = None
    device: Annotated[str, Told("OpenVINO device")] = "CPU"
    precision: Annotated[str, Told("auto, f32, bf16, f16 or int8")] = "auto"
    detector: Annotated[str | None, Told("detector for new pictures: its name or directory", "NAME|DIR")] = None
    engine: Annotated[str | None, Told("search engine (default: the embedded index)", "URL")] = None
    host: Annotated[str, Told("address to listen on; any but a loopback address needs a token")] = "127.0.0.1"
    port: Annotated[int, Told("port to listen on; 0 for a free one")] = 8000
    root_path: Annotated[str, Told("serve everything below this prefix", "PREFIX")] = ""
    public_url: Annotated[str | None, Told("beginning of each image_url (default: that of the request)", "URL")] = None
    trusted_proxy: Annotated[tuple[str, ...], Told("proxy whose X-Forwarded headers are trusted", "ADDRESS")] = ()
    allowed_host: Annotated[tuple[str, ...], Told("host name by which the service may be called", "NAME")] = ()
    cors_origin: Annotated[tuple[str, ...], Told("origin whose pages may send requests", "ORIGIN")] = ()
    allow_fetch: Annotated[tuple[str, ...], Told("host from which pictures may be fetched for embeddings", "HOST")] = ()
    media_root: Annotated[tuple[Path, ...], Told("folder with pictures that may be served, too", "DIR")] = ()
    token_file: Annotated[Path | None, Told("file with lines 'read TOKEN' and 'write TOKEN'", "FILE")] = None
    create: Annotated[bool, Told("create stores that do not exist yet, empty")] = False
    read_only: Annotated[bool, Told("refuse ingest, delete and decisions")] = False
    ingest_policy: Annotated[str, Told("what to do with new pictures that have defects: accept, flag or refuse")] = (
        "accept"
    )
    decisions: Annotated[Path | None, Told("folder of decisions (default: STORE-decisions)", "DIR")] = None
    max_upload: Annotated[int, Told("largest picture, bytes")] = 20 << 20
    max_batch: Annotated[int, Told("most pictures in one ingest request")] = 64
    threads: Annotated[int, Told("threads that compute; 0: one per processor")] = 0
    queue: Annotated[int, Told("most requests of one kind that may wait")] = 256
    text_cache: Annotated[int, Told("number of texts whose vectors are cached")] = 1000
    reload_interval: Annotated[float, Told("seconds between checks for what another process wrote")] = 1.0
    stall_timeout: Annotated[float, Told("seconds without data after which a request is dropped")] = 20.0
    stop_timeout: Annotated[float, Told("seconds for running requests to end after SIGTERM")] = 30.0
    read_token: str | None = field(default=None, repr=False)
    write_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.ingest_policy not in POLICIES:
            raise OptionError(f"--ingest-policy is one of {', '.join(POLICIES)}, got {self.ingest_policy!r}")
        for name, least in _LEAST.items():
            # A float that is not a number is neither at least this nor below infinity.
            if not least <= getattr(self, name) < math.inf:
                raise OptionError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.port > 65535:
            raise OptionError(f"--port must be at most 65535, got {self.port}")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise OptionError(f"--root-path begins with a slash and does not end with one, got {self.root_path!r}")
        if "*" in self.cors_origin:
            raise OptionError("--cors-origin names origins, as https://pages.example; '*' would open all to everyone")
        if not self.is_local and not self.has_tokens:
            raise OptionError(
                f"listening on {self.host} without a token would open the stores to the network; give --token-file, "
                "DATUMARO_CLIP_READ_TOKEN or DATUMARO_CLIP_WRITE_TOKEN, or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK

    @property
    def has_tokens(self) -> bool:
        """Whether requests must carry a token."""
        return any((self.read_token, self.write_token, self.token_file))

    @property
    def pool_threads(self) -> int:
        """Threads that compute."""
        return self.threads or max(available_processors(), 2)


class Option(NamedTuple):
    """A setting that the command line and the environment can give.

    Attributes
    ----------
    name : str
        Of the field.
    kind : type
        What its value is, or each of its values is: str, int, float, bool or Path.
    default : object
    told : Told
    """

    name: str
    kind: type
    default: Any
    told: Told

    def parse(self, text: str) -> Any:
        """The value that a variable of the environment gives; lists have blanks between their values."""
        if isinstance(self.default, tuple):
            return tuple(map(self.kind, text.split()))
        if self.kind is bool and text.lower() not in _SWITCHES:
            raise ValueError("neither yes nor no")
        return _SWITCHES[text.lower()] if self.kind is bool else self.kind(text)


def options() -> list[Option]:
    """The fields that are options, in their order."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        Option(each.name, _kind(hint.__origin__), each.default, hint.__metadata__[0])
        for each in fields(Settings)
        if hasattr(hint := hints[each.name], "__metadata__")
    ]


def _kind(hint: Any) -> type:
    """The type of a value that may be None, or of each value of a tuple."""
    kind: type = next((arg for arg in get_args(hint) if arg is not type(None)), hint)
    return kind


def from_environment(environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """The settings that ``DATUMARO_CLIP_SERVE_…`` and the two tokens' variables say.

    Parameters
    ----------
    environment : mapping
    **given
        Values that go before the environment's.

    Raises
    ------
    OptionError
        If a value cannot be read.
    """
    found = {}
    for option in options():
        variable = PREFIX + option.name.upper()
        if variable in environment:
            try:
                found[option.name] = option.parse(environment[variable])
            except ValueError as exc:
                raise OptionError(f"{variable} wants {option.kind.__name__}, got {environment[variable]!r}") from exc
    tokens = {f"{right}_token": environment.get(f"DATUMARO_CLIP_{right.upper()}_TOKEN") for right in ("read", "write")}
    return Settings(**{**tokens, **found, **given})
