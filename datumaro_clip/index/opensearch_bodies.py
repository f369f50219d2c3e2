"""The JSON that OpenSearch is sent, and the places that its hits name; each item is a document with nested objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datumaro_clip.index.documents import Document, Place, State
from datumaro_clip.index.filters import Filter, attribute_text
from datumaro_clip.index.snapshot import OBJECTS
from datumaro_clip.vectors import FloatArray, VectorSpace

#: Version of the mapping; another one is refused.
VERSION = 1
# With the default engine `faiss`, indexing hangs if its native library is missing.
_ENGINE = "lucene"
_CORNERS = ("x1", "y1", "x2", "y2")


def index_body(
    space: VectorSpace, *, shards: int, replicas: int, connectivity: int, expansion_add: int
) -> dict[str, Any]:
    """Return the settings and the mapping of an empty index.

    Parameters
    ----------
    space : VectorSpace
    shards, replicas : int
    connectivity, expansion_add : int
        HNSW's ``m`` and ``ef_construction``.
    """
    method = {
        "name": "hnsw",
        "space_type": "cosinesimil",
        "engine": _ENGINE,
        "parameters": {"m": connectivity, "ef_construction": expansion_add},
    }
    vector = {"type": "knn_vector", "dimension": space.dimension, "method": method}
    word, number = {"type": "keyword"}, {"type": "float"}
    bbox = {"properties": dict.fromkeys(_CORNERS, number)}
    objects = {"bbox": bbox, "class_name": word, "confidence": number, "object_embedding": vector}
    properties: dict[str, Any] = {
        "image_id": word,
        "subset": word,
        "filename": word,
        "caption": {"type": "text"},
        "global_image_embedding": vector,
        "detected_objects": {"type": "nested", "properties": objects},
        "tags": word,
        "upload_date": {"type": "date"},
        "classes": word,
        "score": number,
        "attributes": word,
        "segment": word,
        "row": {"type": "integer"},
        "first_object": {"type": "integer"},
        "checksum": {"type": "long"},
    }
    return {
        "settings": {"index": {"knn": True, "number_of_shards": shards, "number_of_replicas": replicas}},
        "mappings": {"dynamic": "strict", "_meta": meta_of(State(space)), "properties": properties},
    }


def source_of(document: Document) -> dict[str, Any]:
    """Return a document as the server stores it."""
    source: dict[str, Any] = {
        "image_id": document.key.id,
        "subset": document.key.subset,
        "filename": document.filename,
        "caption": list(document.captions),
        "detected_objects": [
            {
                "bbox": dict(zip(_CORNERS, found.bbox, strict=True)),
                "class_name": found.class_name,
                "confidence": 1.0 if found.confidence is None else found.confidence,
                "object_embedding": found.vector.tolist(),
            }
            for found in document.objects
        ],
        "tags": list(document.tags),
        "classes": list(document.classes),
        "attributes": [f"{name}={attribute_text(value)}" for name, value in document.attributes.items()],
        "segment": document.segment,
        "row": document.row,
        "first_object": document.first_object,
        "checksum": document.checksum,
    }
    optional = {
        "upload_date": None if document.added is None else document.added.isoformat(),
        "score": document.score,
        "global_image_embedding": None if document.embedding is None else document.embedding.tolist(),
    }
    return {**source, **{name: value for name, value in optional.items() if value is not None}}


def search_body(target: str, query: FloatArray, count: int, wanted: Filter | None) -> dict[str, Any]:
    """Return the search for ``count`` pictures or objects near a query (D,).

    The filter stands inside the knn clause. Beside it, it would apply to the hits, of which too few might be left.
    """
    of_objects = target == OBJECTS
    field = "detected_objects.object_embedding" if of_objects else "global_image_embedding"
    clause: dict[str, Any] = {"vector": query.tolist(), "k": count}
    conditions = filter_clauses(wanted or Filter())
    if conditions:
        clause["filter"] = {"bool": {"filter": conditions}}
    if of_objects:
        clause["expand_nested_docs"] = True
    search: dict[str, Any] = {"knn": {field: clause}}
    if of_objects:
        inner = {"size": 100, "_source": False}
        search = {"nested": {"path": "detected_objects", "score_mode": "max", "query": search, "inner_hits": inner}}
    return {"size": count, "_source": False, "docvalue_fields": ["segment", "row", "first_object"], "query": search}


def text_body(text: str, count: int, wanted: Filter | None) -> dict[str, Any]:
    """Return the search for ``count`` items whose captions have the words of a text."""
    query = {"bool": {"must": {"match": {"caption": text}}, "filter": filter_clauses(wanted or Filter())}}
    return {"size": count, "_source": False, "docvalue_fields": ["segment", "row"], "query": query}


def filter_clauses(wanted: Filter) -> list[dict[str, Any]]:
    """Return the conditions of a filter that documents can express.

    They cannot express that one annotation has both the class and the score; the caller checks each hit.
    """
    lists = {"subset": wanted.subsets, "tags": wanted.tags, "classes": wanted.classes}
    clauses: list[dict[str, Any]] = [{"terms": {name: list(values)}} for name, values in lists.items() if values]
    clauses += [
        {"terms": {"attributes": [f"{name}={text}" for text in wanted.attribute_values(name)]}}
        for name in wanted.attributes
    ]
    if wanted.min_score is not None:
        # As float32, like the confidences.
        clauses.append({"range": {"score": {"gte": float(np.float32(wanted.min_score))}}})
    dates = {"gte": wanted.added_from, "lt": wanted.added_before}
    if limits := {name: date.isoformat() for name, date in dates.items() if date is not None}:
        clauses.append({"range": {"upload_date": limits}})
    return clauses


def meta_of(state: State) -> dict[str, Any]:
    """Return a state as the mapping keeps it."""
    return {
        "datumaro_clip": VERSION,
        "fingerprint": state.space.fingerprint,
        "dimension": state.space.dimension,
        "model": state.space.model,
        "digest": state.digest,
        "segments": {name: [progress.rows, progress.removed] for name, progress in state.segments.items()},
    }


def places_of(hit: Mapping[str, Any], of_objects: bool) -> list[Place]:
    """Return the place of a hit's picture, or of its objects."""
    fields = hit["fields"]
    [segment] = fields["segment"]
    if not of_objects:
        return [(segment, int(fields["row"][0]))]
    first = int(fields["first_object"][0])
    inner = hit["inner_hits"]["detected_objects"]["hits"]["hits"]
    return [(segment, first + int(found["_nested"]["offset"])) for found in inner]
