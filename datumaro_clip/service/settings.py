"""The service's settings: one table for Python, the command line and the environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from datumaro_clip.errors import OptionError

PREFIX = "DATUMARO_CLIP_SERVE_"
POLICIES = ("accept", "flag", "refuse")
# The least value of each number; seconds are floats.
_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("max_upload", "max_batch", "queue", "text_cache"), 1),
    **dict.fromkeys(("port", "threads", "stop_timeout"), 0),
    **dict.fromkeys(("reload_interval", "stall_timeout"), 0.01),
}
# Words for on and off in the environment.
_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Help(NamedTuple):
    """A setting's help text on the command line, and the name of its value there."""

    text: str
    metavar: str | None = None


@dataclass(frozen=True)
class Settings:
    """What a service may do, and its limits.

    The attributes are the options of ``datum-clip serve``, described there; sizes are bytes, times seconds.

    Raises
    ------
    OptionError
        If a value cannot be used, or the service would be open to a network without a token.
    """

    model: Annotated[str | None, Help("model of the queries (default: the model of the stores)")] = None
    device: Annotated[str, Help("OpenVINO device")] = "CPU"
    precision: Annotated[str, Help("auto, f32, bf16, f16 or int8")] = "auto"
    detector: Annotated[str | None, Help("detector for new pictures: its name or directory", "NAME|DIR")] = None
    engine: Annotated[str | None, Help("search engine (default: the embedded index)", "URL")] = None
    host: Annotated[str, Help("address to listen on; any but a loopback address needs a token")] = "127.0.0.1"
    port: Annotated[int, Help("port to listen on; 0 for a free one")] = 8000
    root_path: Annotated[str, Help("serve everything below this prefix", "PREFIX")] = ""
    public_url: Annotated[str | None, Help("beginning of each image_url (default: that of the request)", "URL")] = None
    trusted_proxy: Annotated[tuple[str, ...], Help("proxy whose X-Forwarded headers are trusted", "ADDRESS")] = ()
    allowed_host: Annotated[tuple[str, ...], Help("host name by which the service may be called", "NAME")] = ()
    cors_origin: Annotated[tuple[str, ...], Help("origin whose pages may send requests", "ORIGIN")] = ()
    allow_fetch: Annotated[tuple[str, ...], Help("host from which pictures may be fetched for embeddings", "HOST")] = ()
    media_root: Annotated[tuple[Path, ...], Help("folder with pictures that may be served, too", "DIR")] = ()
    token_file: Annotated[Path | None, Help("file with lines 'read TOKEN' and 'write TOKEN'", "FILE")] = None
    create: Annotated[bool, Help("create stores that do not exist yet, empty")] = False
    read_only: Annotated[bool, Help("refuse ingest, delete and decisions")] = False
    ingest_policy: Annotated[str, Help("what to do with new pictures that have defects: accept, flag or refuse")] = (
        "accept"
    )
    decisions: Annotated[Path | None, Help("folder of decisions (default: STORE-decisions)", "DIR")] = None
    max_upload: Annotated[int, Help("largest picture, bytes")] = 20 << 20
    max_batch: Annotated[int, Help("most pictures in one ingest request")] = 64
    threads: Annotated[int, Help("threads that compute; 0: one per processor")] = 0
    queue: Annotated[int, Help("most requests of one kind that may wait")] = 256
    text_cache: Annotated[int, Help("number of texts whose vectors are cached")] = 1000
    reload_interval: Annotated[float, Help("seconds between checks for what another process wrote")] = 1.0
    stall_timeout: Annotated[float, Help("seconds without data after which a request is dropped")] = 20.0
    stop_timeout: Annotated[float, Help("seconds for running requests to end after SIGTERM")] = 30.0
    read_token: str | None = field(default=None, repr=False)
    write_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.ingest_policy not in POLICIES:
            raise OptionError(f"--ingest-policy is one of {', '.join(POLICIES)}, got {self.ingest_policy!r}")
        for name, least in _LEAST.items():
            # NaN is neither at least this nor below infinity.
            if not least <= getattr(self, name) < math.inf:
                raise OptionError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.port > 65535:
            raise OptionError(f"--port must be at most 65535, got {self.port}")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise OptionError(f"--root-path begins with a slash and does not end with one, got {self.root_path!r}")
        if "*" in self.cors_origin:
            raise OptionError("--cors-origin names origins, as https://pages.example; '*' would open all to everyone")
        if self.host not in LOOPBACK and not any((self.read_token, self.write_token, self.token_file)):
            raise OptionError(
                f"listening on {self.host} without a token would open the stores to the network; give --token-file, "
                "DATUMARO_CLIP_READ_TOKEN or DATUMARO_CLIP_WRITE_TOKEN, or listen on 127.0.0.1"
            )


class Option(NamedTuple):
    """A setting that the command line and the environment can give.

    Attributes
    ----------
    name : str
        The field's.
    kind : type
        The type of its value, or of each of its values: str, int, float, bool or Path.
    default : object
    help : Help
    """

    name: str
    kind: type
    default: Any
    help: Help

    def parse(self, text: str) -> Any:
        """Read the value of an environment variable; a list has blanks between its values."""
        if isinstance(self.default, tuple):
            return tuple(map(self.kind, text.split()))
        if self.kind is bool and text.lower() not in _SWITCHES:
            raise ValueError("neither yes nor no")
        return _SWITCHES[text.lower()] if self.kind is bool else self.kind(text)


def options() -> list[Option]:
    """Return the fields that are options, in their order."""
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    for each in fields(Settings):
        hint = hints[each.name]
        if hasattr(hint, "__metadata__"):
            # A value that may be None, or a tuple of values, has the type as its first argument.
            kind = (*get_args(hint.__origin__), hint.__origin__)[0]
            found.append(Option(each.name, kind, each.default, hint.__metadata__[0]))
    return found


def from_environment(environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Read the settings from ``DATUMARO_CLIP_SERVE_…`` and the two tokens' variables.

    Parameters
    ----------
    environment : mapping
    **given
        Values that take precedence over the environment's.

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
