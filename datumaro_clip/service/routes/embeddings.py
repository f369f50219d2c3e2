"""Embeddings, as OpenAI's clients request them."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from datumaro_clip.service.answers import JSONAnswer
from datumaro_clip.service.problems import RequestError, documented
from datumaro_clip.service.serving import Service
from datumaro_clip.vectors import FloatArray

_MOST_PICTURES = 64
_MOST_LETTERS = 20_000

Input = Annotated[str, Field(min_length=1)]


class ImageUrl(BaseModel):
    """Where a picture is: a data URI, or a URL of a host that the service may fetch from."""

    url: str


class Content(BaseModel):
    """A part of a message."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(BaseModel):
    """A message, as vision models take them: one text or one picture."""

    role: str = "user"
    content: str | Annotated[list[Content], Field(min_length=1, max_length=1)]


class EmbeddingRequest(BaseModel):
    """What to embed; ``input`` or ``messages``."""

    input: Input | Annotated[list[Input], Field(min_length=1, max_length=2048)] | None = Field(
        None, examples=["a red chair"], description="a text, or a list of texts"
    )
    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_PICTURES)] | None = Field(
        default=None, description="texts and pictures in the form of chat messages"
    )
    model: str | None = Field(default=None, description="the name of the service's model, or omitted")
    modality: Literal["text", "image"] = Field(default="text", description="image: the input holds data URIs")
    encoding_format: Literal["float", "base64"] = Field(default="float", description="base64: little-endian float32")
    dimensions: int | None = Field(default=None, description="the dimension of the service's model, or omitted")
    user: str | None = Field(default=None, description="ignored")


class EmbeddingObject(BaseModel):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens, as the model counts them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(BaseModel):
    """Vectors, in the order of the input."""

    object: Literal["list"] = "list"
    data: list[EmbeddingObject]
    model: str
    usage: Usage


def routes(service: Service) -> APIRouter:
    """Make the endpoints below ``/v1``."""
    router = APIRouter(prefix="/v1", tags=["embeddings"])
    space = service.embedding.encoder.space
    names = {space.model, space.fingerprint} - {""}
    name = space.model or space.fingerprint

    @router.get("/models", summary="The model of the service")
    async def models() -> Response:
        model = {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "datumaro-clip",
            "fingerprint": space.fingerprint,
        }
        return JSONAnswer({"object": "list", "data": [model]})

    @router.post(
        "/embeddings",
        response_model=EmbeddingAnswer,
        responses=documented(400, 404),
        summary="Vectors of texts or pictures",
    )
    async def embeddings(asked: EmbeddingRequest) -> Response:
        service.require_ready()
        if asked.model is not None and asked.model not in names:
            raise RequestError(
                404, f"the model here is {name}; name that, or none", param="model", kind="model_not_found"
            )
        if asked.dimensions not in (None, space.dimension):
            raise RequestError(
                400, f"vectors have {space.dimension} dimensions; leave 'dimensions' out", param="dimensions"
            )
        texts, pictures = _inputs(asked)
        if texts:
            vectors = await asyncio.gather(*map(service.embedding.text, texts))
        else:
            data = [await service.named_pictures.get(url) for url in pictures]
            vectors = await asyncio.gather(*map(service.embedding.picture, data))
        tokens = sum(map(len, service.embedding.encoder.tokenizer.encode(texts).ids)) if texts else 0
        encode = _base64 if asked.encoding_format == "base64" else np.ndarray.tolist
        return JSONAnswer(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": encode(vector)}
                    for index, vector in enumerate(vectors)
                ],
                "model": name,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    return router


def _inputs(asked: EmbeddingRequest) -> tuple[list[str], list[str]]:
    """Return the texts, and the URLs of pictures, to embed: one of the two is empty."""
    if (asked.input is None) == (asked.messages is None):
        raise RequestError(400, "send either 'input' or 'messages'", param="input")
    if asked.messages is not None:
        contents = [
            Content(type="text", text=message.content) if isinstance(message.content, str) else message.content[0]
            for message in asked.messages
        ]
        texts = [part.text for part in contents if part.type == "text" and part.text]
        urls = [part.image_url.url for part in contents if part.type == "image_url" and part.image_url is not None]
        if len(texts) + len(urls) != len(contents) or (texts and urls):
            raise RequestError(400, "messages are all texts, or all image_url; send the others apart", param="messages")
    else:
        given = [asked.input] if isinstance(asked.input, str) else list(asked.input or [])
        texts, urls = (given, []) if asked.modality == "text" else ([], given)
    if any(len(text) > _MOST_LETTERS for text in texts):
        raise RequestError(400, f"a text is longer than {_MOST_LETTERS} letters; shorten it", param="input")
    if len(urls) > _MOST_PICTURES:
        raise RequestError(400, f"{len(urls)} pictures; send at most {_MOST_PICTURES} at a time", param="input")
    return texts, urls


def _base64(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
