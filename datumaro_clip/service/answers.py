"""Answers in JSON: written quickly, and with any name that a file system allows."""

from __future__ import annotations

import json
from typing import Any

import orjson
from starlette.responses import Response


def dumps(content: Any) -> bytes:
    """Write JSON; NaN and infinity become null, names that are not UTF-8 are escaped."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


class JSONAnswer(Response):
    """A response of JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content)
