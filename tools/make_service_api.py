"""Write docs/service-api.md from the service's OpenAPI: ``python tools/make_service_api.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datumaro_clip.service import create_app
from datumaro_clip.store import Header, create_store
from datumaro_clip.testing import FakeEncoder

TARGET = Path(__file__).resolve().parents[1] / "docs" / "service-api.md"
_HEAD = """# The service's endpoints

Every endpoint of `datum-clip serve` with its fields. [The service](service.md) explains them, and how errors look.
`python tools/make_service_api.py` writes this page from the service's OpenAPI. A running service
shows the same at `/docs`, where you can try each endpoint.
"""


def page() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        with create_store(Path(folder, "store"), "clip_mmap", Header()):
            pass
        told = create_app({"store": Path(folder, "store")}, FakeEncoder()).openapi
    parts = [_HEAD]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            parts.append("\n".join(_operation(method.upper(), path, operation, told)))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any], told: dict[str, Any]) -> Iterator[str]:
    yield f"## `{method} {path}`"
    yield ""
    yield f"{operation['summary']}."
    rows = [
        _row(each["name"], {**each["schema"], **each}, each.get("required", False))
        for each in operation.get("parameters", ())
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = _resolved(content["schema"], told)
        wanted = schema.get("required", ())
        fields = schema.get("properties", {}).items()
        rows += [_row(name, field, name in wanted) for name, field in fields]
    if rows:
        yield ""
        yield "| field | type | default | meaning |"
        yield "| --- | --- | --- | --- |"
        yield from rows
    codes = ", ".join(sorted(operation["responses"]))
    yield ""
    yield f"Status codes: {codes}."


def _row(name: str, schema: dict[str, Any], is_required: bool) -> str:
    default = "**required**" if is_required else _shown(schema.get("default"))
    return f"| `{name}` | {_type(schema)} | {default} | {schema.get('description', '')} |"


def _shown(value: Any) -> str:
    return "" if value in (None, [], {}, "") else f"`{value}`"


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [f"{word} {schema[key]:g}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([str(schema.get("format") or schema.get("type", "any")), *bounds])


def _resolved(schema: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema
    if "$ref" in schema:
        found = told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
