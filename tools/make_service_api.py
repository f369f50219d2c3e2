"""Write docs/service-api.md from the service's OpenAPI: ``python tools/make_service_api.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from datumaro_clip.service import create_app
from datumaro_clip.service.filters import Filters
from datumaro_clip.store import Header, create_store
from datumaro_clip.testing import FakeEncoder

TARGET = Path(__file__).resolve().parents[1] / "docs" / "service-api.md"
_HEAD = """# The service's endpoints

Every endpoint of `datum-clip serve` with its fields. [The service](service.md) explains them, and how errors look.
`python tools/make_service_api.py` writes this page from the service's OpenAPI. A running service shows the same at
`/docs`, where you can try each endpoint. Any request may also be refused with one of these [errors](service.md#errors):
{errors}.

## Filters

Searches with JSON take these fields. Filters of several fields must all hold; of a list, one value is enough.
"""
_COLUMNS = ["", "| field | type | default | meaning |", "| --- | --- | --- | --- |"]
_BODIES = {"application/json": "JSON", "multipart/form-data": "form"}


def page() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        with create_store(Path(folder, "store"), "clip_mmap", Header()):
            pass
        told = create_app({"store": Path(folder, "store")}, FakeEncoder()).openapi
    search = told["components"]["schemas"]["SearchRequest"]["properties"]
    filters = {name: search[name] for name in Filters.model_fields}
    head = _HEAD.strip("\n").format(errors=", ".join(sorted(_errors(told))))
    parts = [head + "\n" + "\n".join(_table(filters, ()))]
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            parts.append("\n".join(_operation(method.upper(), path, operation, told)))
    return "\n\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any], told: dict[str, Any]) -> Iterator[str]:
    yield f"## `{method} {path}`"
    yield ""
    yield f"{operation['summary']}."
    parameters = operation.get("parameters", ())
    if parameters:
        needed = [each["name"] for each in parameters if each.get("required")]
        yield from _table({each["name"]: {**each["schema"], **each} for each in parameters}, needed)
    bodies = operation.get("requestBody", {}).get("content", {})
    for kind, content in bodies.items():
        schema = _resolved(content["schema"], told)
        fields = schema.get("properties", {})
        own = {name: field for name, field in fields.items() if name not in Filters.model_fields}
        filters = ", with the [filters](#filters)" if len(own) < len(fields) else ""
        yield ""
        yield f"{'One body: ' if len(bodies) > 1 else 'Body: '}{_BODIES[kind]}{filters}."
        yield from _table(own, schema.get("required", ()))
    yield ""
    yield f"Status codes: {', '.join(sorted(operation['responses'].keys() - _errors(told)))}."


def _errors(told: dict[str, Any]) -> set[str]:
    """The status codes of errors that all endpoints have in common."""
    return {code for code in told["paths"]["/stores"]["get"]["responses"] if code >= "400"}


def _table(fields: dict[str, dict[str, Any]], needed: Container[str]) -> list[str]:
    """Fields as rows: name, type, default, meaning."""
    rows = []
    for name, schema in fields.items():
        default = "**required**" if name in needed else _shown(schema.get("default"))
        rows.append(f"| `{name}` | {_type(schema)} | {default} | {schema.get('description', '')} |")
    return [*_COLUMNS, *rows]


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
