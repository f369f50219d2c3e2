"""An index in OpenSearch: the only importer of ``opensearchpy``."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from datumaro_clip.errors import EngineError, EngineMismatchError, MissingDependencyError, OptionError
from datumaro_clip.index.documents import Document, Place, Progress, State
from datumaro_clip.index.filters import Filter
from datumaro_clip.index.opensearch_bodies import (
    VERSION,
    index_body,
    meta_of,
    places_of,
    search_body,
    source_of,
    text_body,
)
from datumaro_clip.index.remote import password
from datumaro_clip.index.snapshot import OBJECTS
from datumaro_clip.similarity.scores import Matrix, as_float32
from datumaro_clip.vectors import ItemKey, VectorSpace

try:
    import opensearchpy
    from opensearchpy import exceptions, helpers
except ModuleNotFoundError as exc:
    raise MissingDependencyError("opensearchpy", "opensearch", "an index in OpenSearch") from exc


_Result = TypeVar("_Result")
_INDEX = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,120}")
# HTTP statuses after which the same request may succeed later.
_BUSY = (429, 502, 503, 504)
# Seconds between tries: the first pause, each twice as long as the one before, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_ACTIONS_PER_REQUEST = 500
# A search is tried so often; a push until its time limit.
_SEARCH_TRIES = 4
# Deleted items are expunged from the index when they exceed this share of the others.
_MOST_DELETED = 0.2
# Seconds allowed for requests that take long in a large index.
_LONG = {"request_timeout": 3600}
# Connections kept open to each host.
_CONNECTIONS = 16
# OpenSearch's own limit of hits in an answer.
_MOST_HITS = 10_000


class OpenSearchRemote:
    """One index of a cluster; several threads may use it.

    Parameters
    ----------
    url : str
        ``http(s)://[USER@]HOST:PORT[,HOST:PORT...]/INDEX``; if one of several hosts fails, the others are asked.
        A password in it is refused, since other users can see command lines.
    connectivity, expansion_add : int
        HNSW's ``m`` and ``ef_construction``.
    shards : int
    replicas : int or None
        None for 1, or 0 if the cluster has one node.
    time_limit : float
        Seconds that a search may take, and that a push waits for a server that is down or busy.

    Raises
    ------
    OptionError
        If the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        connectivity: int = 16,
        expansion_add: int = 512,
        shards: int = 2,
        replicas: int | None = None,
        time_limit: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        user, _, hosts = parts.netloc.rpartition("@")
        self._index = parts.path.strip("/")
        if not _INDEX.fullmatch(self._index):
            raise OptionError(
                f"{self._index!r} cannot be an index's name; wanted {parts.scheme}://HOST:PORT/INDEX, of small "
                "letters, digits, '.', '_' and '-'"
            )
        if ":" in user:
            raise OptionError(
                "a password in the URL can be read by others: set DATUMARO_CLIP_ENGINE_PASSWORD or "
                "DATUMARO_CLIP_ENGINE_PASSWORD_FILE"
            )
        self.name = f"{hosts}/{self._index}"
        #: Called with the seconds that a search took by the cluster's own clock.
        self.tell: Callable[[float], None] = lambda seconds: None
        self._graph = {"connectivity": connectivity, "expansion_add": expansion_add}
        self._shards, self._replicas, self._time_limit = shards, replicas, time_limit
        # The client logs every request at level INFO.
        logging.getLogger("opensearch").setLevel(logging.WARNING)
        addresses = [f"{parts.scheme}://{host}" for host in hosts.split(",")]
        self._client = opensearchpy.OpenSearch(
            addresses,
            http_auth=(user, password() or "") if user else None,
            ca_certs=os.environ.get("DATUMARO_CLIP_ENGINE_CA") if parts.scheme == "https" else None,
            timeout=time_limit,
            # The client tries each host once; `_patiently` tries again, with pauses.
            max_retries=len(addresses) - 1,
            retry_on_timeout=len(addresses) > 1,
            pool_maxsize=_CONNECTIONS,
        )

    def state(self) -> State | None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._errors():
            if not self._client.indices.exists(index=self._index):
                return None
            answer = self._client.indices.get_mapping(index=self._index)
        [mapping] = answer.values()
        meta = mapping["mappings"].get("_meta", {})
        if meta.get("datumaro_clip") != VERSION:
            raise EngineMismatchError(
                f"{self.name} is an index of something else, or of another version: name another one, or replace it by "
                "datum-clip index create --overwrite"
            )
        space = VectorSpace(meta["fingerprint"], meta["dimension"], meta["model"])
        return State(space, meta["digest"], {name: Progress(*progress) for name, progress in meta["segments"].items()})

    def remove(self) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._errors():
            self._client.indices.delete(index=self._index, params={"ignore_unavailable": "true"})

    def create(self, space: VectorSpace) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        with self._errors():
            replicas = self._replicas
            if replicas is None:
                replicas = min(1, int(self._client.cluster.health()["number_of_data_nodes"]) - 1)
            body = index_body(space, shards=self._shards, replicas=replicas, **self._graph)
            self._client.indices.create(index=self._index, body=body)

    def upsert(self, documents: Sequence[Document], state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`; an item's older version never replaces a newer one."""
        self._bulk([[{"index": self._action(each.key, each.version)}, source_of(each)] for each in documents])
        self._save(state)

    def delete(self, keys: Sequence[ItemKey], version: int, state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        self._bulk([[{"delete": self._action(key, version)}] for key in keys])
        self._save(state)

    def finish(self, state: State) -> None:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        others = {"bool": {"must_not": {"terms": {"segment": list(state.segments)}}}}
        self._patiently(lambda: self._client.indices.refresh(index=self._index))
        self._patiently(
            lambda: self._client.delete_by_query(
                index=self._index, body={"query": others}, params={"conflicts": "proceed", "refresh": "true", **_LONG}
            )
        )
        self._patiently(self._expunge)
        self._save(state)

    def propose(self, target: str, queries: Matrix, count: int, wanted: Filter | None) -> list[list[Place]]:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        count = min(count, _MOST_HITS)
        vectors = as_float32(queries)
        return self._searched([search_body(target, query, count, wanted) for query in vectors], target == OBJECTS)

    def propose_words(self, text: str, count: int, wanted: Filter | None) -> list[Place]:
        """See :class:`~datumaro_clip.index.remote.WordRemote`."""
        return self._searched([text_body(text, min(count, _MOST_HITS), wanted)], False)[0]

    def listed(self) -> Iterator[tuple[ItemKey, str, int, int]]:
        """See :class:`~datumaro_clip.index.remote.Remote`."""
        fields = ["image_id", "subset", "segment", "row", "checksum"]
        with self._errors():
            for hit in helpers.scan(self._client, index=self._index, query={"_source": fields}, size=1000):
                source = hit["_source"]
                key = ItemKey(source["image_id"], source["subset"])
                yield key, source["segment"], source["row"], source["checksum"]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _searched(self, bodies: Sequence[Mapping[str, Any]], of_objects: bool) -> list[list[Place]]:
        """Return the places of the hits of each search."""
        lines = "".join(f"{{}}\n{json.dumps(body)}\n" for body in bodies)

        def search() -> list[dict[str, Any]]:
            answers: list[dict[str, Any]] = self._client.msearch(body=lines, index=self._index)["responses"]
            for answer in answers:
                self.tell(answer.get("took", 0) / 1000)
                if "error" in answer:
                    error = _LaterError if answer["status"] in _BUSY else EngineError
                    raise error(f"{self.name} could not search: {_reason(answer['error'])}")
                if answer["_shards"]["failed"]:
                    # A node went down during the search; another one has a copy of its shards.
                    raise _LaterError(f"{self.name} could not search all shards: {_reason(answer['_shards'])}")
            return answers

        answers = self._patiently(search, _SEARCH_TRIES)
        return [[place for hit in answer["hits"]["hits"] for place in places_of(hit, of_objects)] for answer in answers]

    def _bulk(self, actions: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Send actions until all are done; those that the cluster is too busy for are sent again after a pause."""
        left = list(actions)

        def send() -> None:
            body = "".join(f"{json.dumps(line)}\n" for action in left[:_ACTIONS_PER_REQUEST] for line in action)
            answer = self._client.bulk(body=body)
            busy = []
            for action, item in zip(left, answer["items"], strict=False):
                [result] = item.values()
                if result["status"] in _BUSY:
                    busy.append(action)
                elif result["status"] == 409:
                    raise EngineMismatchError(
                        f"{self.name} holds a later version of an item: another process pushed a later state of the "
                        "store; push again, or empty the index with datum-clip index create --overwrite"
                    )
                elif "error" in result:
                    raise EngineError(f"{self.name} refuses an item: {_reason(result['error'])}")
            left[:] = busy + left[_ACTIONS_PER_REQUEST:]
            if busy:
                raise _LaterError(f"{self.name} has been too busy for {self._time_limit:g} s; push again later")

        while left:
            self._patiently(send)

    def _expunge(self) -> None:
        """Rewrite the parts of the index with many deleted items: their graphs find too few of the others."""
        docs = self._client.indices.stats(index=self._index, metric="docs")["_all"]["primaries"]["docs"]
        if docs["deleted"] > _MOST_DELETED * docs["count"]:
            self._client.indices.forcemerge(index=self._index, params={"only_expunge_deletes": "true", **_LONG})

    def _save(self, state: State) -> None:
        self._patiently(lambda: self._client.indices.put_mapping(index=self._index, body={"_meta": meta_of(state)}))

    def _patiently(self, call: Callable[[], _Result], tries: int | None = None) -> _Result:
        """Return the result of a call, which is tried again while the server is down or busy, up to ``tries`` times."""
        end, pause, tried = time.monotonic() + self._time_limit, _FIRST_PAUSE, 0
        while True:
            try:
                with self._errors():
                    return call()
            except _LaterError as exc:
                tried += 1
                if tried == tries or time.monotonic() >= end:
                    raise EngineError(str(exc)) from exc
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exceptions.ConnectionTimeout as exc:
            raise EngineError(
                f"{self.name} took longer than {self._time_limit:g} s; look at its load, or allow more time"
            ) from exc
        except exceptions.AuthenticationException as exc:
            raise EngineError(
                f"{self.name} refuses the user or the password (401): name the user in the URL, and the password in "
                "DATUMARO_CLIP_ENGINE_PASSWORD or the file that DATUMARO_CLIP_ENGINE_PASSWORD_FILE names"
            ) from exc
        except exceptions.SSLError as exc:
            raise EngineError(
                f"{self.name} has no certificate that is trusted here; see DATUMARO_CLIP_ENGINE_CA"
            ) from exc
        except exceptions.ConnectionError as exc:
            raise _LaterError(f"{self.name} cannot be reached; check the URL, and whether it runs") from exc
        except exceptions.TransportError as exc:
            error = _LaterError if exc.status_code in _BUSY else EngineError
            raise error(f"{self.name} answers {exc.status_code}: {_reason(exc.info)}") from exc
        except exceptions.OpenSearchException as exc:
            raise EngineError(f"{self.name}: {exc}") from exc

    def _action(self, key: ItemKey, version: int) -> dict[str, Any]:
        text = f"{key.subset}\0{key.id}".encode("utf-8", "surrogatepass")
        # OpenSearch's ids have at most 512 bytes; a dataset's may be longer.
        name = hashlib.sha256(text).hexdigest()
        return {"_index": self._index, "_id": name, "version": version, "version_type": "external_gte"}


class _LaterError(EngineError):
    """An error after which the same call may succeed later."""


def _reason(error: Any) -> str:
    """Return the server's reason for an error, in one line."""
    if isinstance(error, list) and error:
        return _reason(error[0])
    if isinstance(error, dict):
        for name in ("error", "root_cause", "failures", "reason"):
            if error.get(name):
                return _reason(error[name])
    return str(error)[:300]
