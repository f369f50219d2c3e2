"""Forms with pictures, read within limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from datumaro_clip.service.problems import RequestError

M = TypeVar("M", bound=BaseModel)

# Fields beside files, and bytes of a field: of a caption, not of a picture.
_MOST_FIELDS = 64
_FIELD_BYTES = 64 << 10


@dataclass(frozen=True)
class Form(Generic[M]):
    """A form's fields and its files.

    Attributes
    ----------
    values : BaseModel
    files : tuple of bytes
        Of the parts called ``file``, in order.
    """

    values: M
    files: tuple[bytes, ...]

    def only_file(self) -> bytes:
        """Return the only file; raise a RequestError if there are none or several."""
        if len(self.files) != 1:
            raise RequestError(422, f"the form has {len(self.files)} parts 'file'; send one picture", param="file")
        return self.files[0]


def form_body(model: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """Return OpenAPI's description of a form: a picture, or ``many``, in the part ``file``, and the model's own fields.

    Fields that a model inherits can be sent, too, but are not described.
    """
    file = {"type": "string", "format": "binary", "description": "a JPEG, PNG, WebP, BMP, GIF or TIFF picture"}
    whole = {"type": "array", "items": file, "minItems": 1} if many else file
    described = model.model_json_schema().get("properties", {})
    properties = {"file": whole, **{name: described[name] for name in described if name in model.__annotations__}}
    schema = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


async def read_form(request: Request, model: type[M], most_files: int = 1) -> Form[M]:
    """Read a form.

    Parameters
    ----------
    request : Request
    model : type
        The model of its fields; a field that is no list must be there once.
    most_files : int

    Raises
    ------
    RequestError
        415, if the body is no form; 413, if it has too many parts.
    RequestValidationError
        If a field is wrong.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RequestError(415, "send multipart/form-data with a part 'file', as curl -F file=@picture.jpg does")
    try:
        # The end of the block removes the form's temporary files.
        async with request.form(max_files=most_files, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES) as parts:
            files = [part for name, part in parts.multi_items() if name == "file" and isinstance(part, UploadFile)]
            fields = {name: parts.getlist(name) for name in parts if name != "file"}
            contents = tuple([await part.read() for part in files])
    except (MultiPartException, HTTPException) as exc:
        said = exc.message if isinstance(exc, MultiPartException) else str(exc.detail)
        raise RequestError(
            413 if "Too many" in said or "exceeded" in said else 422, f"the form cannot be read: {said}"
        ) from exc
    with refusals():
        return Form(model.model_validate({n: _value(model, n, values) for n, values in fields.items()}), contents)


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what pydantic refuses as the error that FastAPI raises for its own refusals."""
    try:
        yield
    except ValidationError as exc:
        raise RequestValidationError(exc.errors(include_input=False, include_url=False)) from exc


def _value(model: type[BaseModel], name: str, values: list[Any]) -> Any:
    """Return a field's only value, or all its values where there are several or the model has a list."""
    hint = model.model_fields[name].annotation if name in model.model_fields else None
    is_list = any(get_origin(each) is list for each in (hint, *get_args(hint)))
    return values if is_list or len(values) != 1 else values[0]
