"""Engines of the index beside one another, and beside FAISS: building, memory, time and recall.

python -m benchmarks.index 10000 100000 --engines exact usearch faiss-flat faiss-hnsw pgvector opensearch
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import ROOT, SHARED
from benchmarks.figures import Figure, at_most
from benchmarks.vectors import clip_covariance_rows, text_like_rows
from datumaro_clip.index import Filter, VectorIndex, make_engine, remote
from datumaro_clip.index.usearch import UsearchEngine
from datumaro_clip.similarity import top_k
from datumaro_clip.store import Header, Record, create_store, open_store
from datumaro_clip.vectors import FloatArray, ItemKey, VectorSpace

ENGINES = ("exact", "usearch", "faiss-flat", "faiss-hnsw", "pgvector", "pgvector-512", "opensearch")
K = 20
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
CLASSES = ("bag", "ball", "chair", "lamp")
HALF, RARE = Filter(tags=("half",)), Filter(tags=("rare",))
HYBRID = Filter(
    classes=("bag",), min_score=0.5, tags=("half",), added_from=START, added_before=START + timedelta(days=200)
)
COLUMNS = "{:<12} {:>9} {:>8} {:>7} | {:>7} {:>6} {:>7} {:>6} | {:>7} {:>6} | {:>7} {:>6} | {:>14} {:>7}"
HEAD = ("engine", "rows", "build s", "MB", "image", "recall", "text", "recall", "50%", "recall", "1%", "recall")
# Queries of each kind that are compared with `top_k`, rank for rank.
QUERIES = 1000
# In larger stores, items have only a vector: otherwise making the store would take longer than all else.
PLAIN_ROWS = 200_000
# Server settings tried for a recall of .98 of text queries: rows asked for, and candidates looked at.
EFFORTS = (100, 200, 400, 800)

Search = Callable[[FloatArray, Any], np.ndarray]


@dataclass(frozen=True)
class Data:
    """A store, its vectors, queries, and filters or masks that select half of the rows and a hundredth."""

    store: Path
    rows: FloatArray
    images: FloatArray
    texts: FloatArray
    half: Any
    rare: Any


@dataclass(frozen=True)
class Built:
    """An engine with a built index: its search, the cost of building, and a way to set its effort."""

    search: Search
    seconds: float
    megabytes: float
    processes: tuple[psutil.Process, ...] = ()
    effort: Callable[[int], None] | None = None


def run(work: Path) -> Iterator[Figure]:
    """Compare the exact engine with the limits set for it: CPU time, memory, and ranks equal to those of `top_k`."""
    for rows, limit in ((100_000, 10.0), (1_000_000, 60.0)):
        data = make_data(work, rows, QUERIES if rows <= PLAIN_ROWS else 100)
        built = build_exact(data, work)
        of_half = built.megabytes / (data.rows.nbytes / 1e6)
        yield at_most("index", f"exact, {rows:,}: memory", of_half, 0.6, "of float16")
        for name, queries in (("image", data.images), ("text", data.texts)):
            milliseconds, _ = measured(built, data, queries[:100], None)
            what = f"exact, {rows:,}, {name} query"
            yield at_most("index", f"{what}: CPU", milliseconds, limit, "ms")
            start = cpu_seconds(())
            index = built.search.__self__.index  # type: ignore[attr-defined]
            index.search(queries[:32], K)
            milliseconds = 1000 * (cpu_seconds(()) - start) / 32
            yield at_most("index", f"{what}, 32 in a pass: CPU", milliseconds, 0.4 * limit, "ms")
            wanted = top_k(queries, data.rows, K)
            same = float(all(map(np.array_equal, index.search(queries, K), wanted)))
            yield Figure("index", f"{what}: {len(queries)} as top_k finds them", same, "", same, 1, "top_k")


def make_data(work: Path, rows: int, queries: int) -> Data:
    """Items with tags, classes, scores and dates."""
    vectors = clip_covariance_rows(rows + queries)
    images, vectors = vectors[rows:], vectors[:rows]
    labels = {"label": {"items": [[name, "", []] for name in CLASSES]}}
    header = Header(space=VectorSpace("name:bench", vectors.shape[1]), dtype="float16", categories=labels)
    random = np.random.default_rng(2)
    store = work / f"store-{rows}"
    half, rare = HALF, RARE
    with create_store(store, "clip_mmap", header) as writer:
        if rows > PLAIN_ROWS:
            half, rare = random.random(rows) < 0.5, random.random(rows) < 0.01
            writer.add_rows([ItemKey(f"{i}", "train") for i in range(rows)], vectors)
        for i, vector in enumerate(vectors if rows <= PLAIN_ROWS else ()):
            tags = [tag for tag, share in (("half", 0.5), ("rare", 0.01)) if random.random() < share]
            date = (START + timedelta(days=int(random.integers(0, 400)))).isoformat()
            box = {"type": "Bbox", "label": int(random.integers(0, 4)), "attributes": {"score": float(random.random())}}
            payload = {"attributes": {"tags": tags, "clip_added": date}, "annotations": [box]}
            writer.add(Record(ItemKey(f"{i}", "train"), payload, vector))
    with open_store(store) as reader:
        stored = np.array(reader.matrix())
    return Data(store, stored, images, text_like_rows(queries), half, rare)


def build_exact(data: Data, work: Path) -> Built:
    """The default engine."""
    return _local(data, work, make_engine(), "codes")


def build_usearch(data: Data, work: Path) -> Built:
    """usearch as the extra ``ann`` offers it."""
    built = _local(data, work, UsearchEngine(least_rows=1), "usearch")
    timed = built.search.__self__  # type: ignore[attr-defined]

    def effort(count: int) -> None:
        engine = UsearchEngine(expansion_search=2 * count, least_rows=1)
        timed.index = VectorIndex(data.store, engine, _cache(work, engine, data))

    return Built(built.search, built.seconds, built.megabytes, effort=effort)


def _local(data: Data, work: Path, engine: Any, kind: str) -> Built:
    cache = _cache(work, engine, data)
    index = _Timed(VectorIndex(data.store, engine, cache))
    seconds = cpu_seconds(())
    index.index.sync()
    seconds = cpu_seconds(()) - seconds
    files = cache.rglob(f"pictures-{kind}*/*.npy")
    return Built(index.search, seconds, sum(file.stat().st_size for file in files) / 1e6)


def _cache(work: Path, engine: Any, data: Data) -> Path:
    return work / f"cache-{engine.name}-{len(data.rows)}"


class _Timed:
    """An index whose answers are the scores alone."""

    def __init__(self, index: VectorIndex) -> None:
        self.index = index

    @property
    def snapshot(self) -> Any:
        return self.index.snapshot

    def search(self, query: FloatArray, wanted: Any) -> np.ndarray:
        return self.index.search(query, K, wanted).scores


def build_faiss(data: Data, work: Path, graph: bool) -> Built:
    """FAISS, one thread; it knows no filters by name, so it is given none."""
    import faiss

    faiss.omp_set_num_threads(1)
    rows = np.asarray(data.rows, np.float32)
    seconds = cpu_seconds(())
    if graph:
        index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 200, 200
    else:
        index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    seconds = cpu_seconds(()) - seconds

    def effort(count: int) -> None:
        index.hnsw.efSearch = 2 * count

    size = len(faiss.serialize_index(index)) / 1e6
    return Built(lambda query, wanted: index.search(query, K)[0], seconds, size, (), effort if graph else None)


def build_pgvector(data: Data, work: Path, expansion_add: int | None = None) -> Built:
    """PostgreSQL with pgvector, on the same machine; ``expansion_add`` is its ``ef_construction``."""
    from servers import Postgres

    server = Postgres()
    server.start()
    os.environ["DATUMARO_CLIP_ENGINE_PASSWORD"] = server.password
    built = _remote(data, work, server.url, server, expansion_add=expansion_add)
    with server.connect() as connection:
        [(size,)] = connection.execute("SELECT pg_total_relation_size('datumaro_clip.item')").fetchall()
    return Built(built.search, built.seconds, size / 1e6, built.processes, built.effort)


def build_opensearch(data: Data, work: Path) -> Built:
    """OpenSearch, one node on the same machine."""
    from servers import OpenSearch, free_ports

    node = OpenSearch(SHARED / "servers/opensearch/run", *free_ports(1))
    os.environ["OPENSEARCH_HEAP"] = "512m"
    node.start()
    built = _remote(data, work, f"{node.url}/bench", node)
    stats = built.search.__self__.index.engine.remote._client.indices.stats(index="bench")  # type: ignore[attr-defined]
    return Built(
        built.search,
        built.seconds,
        stats["_all"]["total"]["store"]["size_in_bytes"] / 1e6,
        built.processes,
        built.effort,
    )


def _remote(data: Data, work: Path, url: str, server: Any, **options: Any) -> Built:
    process = psutil.Process(server.process_id)
    _SERVERS.append(server)
    engine = make_engine(url, time_limit=600, **options)
    index = _Timed(VectorIndex(data.store, engine, work / f"cache-remote-{len(data.rows)}"))
    seconds = cpu_seconds((process,))
    index.index.sync()
    seconds = cpu_seconds((process,)) - seconds

    def effort(count: int) -> None:
        remote._LEAST_ASKED = count

    return Built(index.search, seconds, 0.0, (process,), effort)


_SERVERS: list[Any] = []
BUILDERS: dict[str, Callable[[Data, Path], Built]] = {
    "exact": build_exact,
    "usearch": build_usearch,
    "faiss-flat": lambda data, work: build_faiss(data, work, False),
    "faiss-hnsw": lambda data, work: build_faiss(data, work, True),
    "pgvector": build_pgvector,
    "pgvector-512": lambda data, work: build_pgvector(data, work, 512),
    "opensearch": build_opensearch,
}


def cpu_seconds(processes: tuple[psutil.Process, ...]) -> float:
    """Return the CPU time of this process and of servers, including their children, also those that have ended."""
    total = time.process_time()
    for process in processes:
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
        total += process.cpu_times().children_user + process.cpu_times().children_system
    return total


def measured(built: Built, data: Data, queries: FloatArray, wanted: Any) -> tuple[float, float]:
    """CPU milliseconds a query, asked one by one, and the recall of its true 20 best."""
    kept = np.arange(len(data.rows)) if wanted is None else np.flatnonzero(_mask(data, wanted))
    truth = top_k(queries, data.rows[kept], K)[1]
    built.search(queries[:1], wanted)
    start = cpu_seconds(built.processes)
    found = [built.search(query[None], wanted)[0] for query in queries]
    milliseconds = 1000 * (cpu_seconds(built.processes) - start) / len(queries)
    # FAISS rounds scores differently.
    hits = [(scores >= true[-1] - 2e-4).sum() / K for scores, true in zip(found, truth, strict=True)]
    return milliseconds, float(np.mean(hits))


def _mask(data: Data, wanted: Any) -> np.ndarray:
    if isinstance(wanted, np.ndarray):
        return wanted
    return VectorIndex(data.store, make_engine(), data.store.parent / "cache-masks").snapshot.mask(wanted)


def line(name: str, built: Built, data: Data) -> str:
    """One line of the table."""
    cells: list[str] = [name, f"{len(data.rows):,}", f"{built.seconds:.1f}", f"{built.megabytes:.0f}"]
    for queries, wanted in ((data.images, None), (data.texts, None), (data.texts, data.half), (data.texts, data.rare)):
        if wanted is not None and name.startswith("faiss"):
            cells += ["-", "-"]
            continue
        milliseconds, recall = measured(built, data, queries, wanted)
        cells += [f"{milliseconds:.2f}", f"{recall:.3f}"]
    reached = "-"
    for effort in EFFORTS if built.effort else (0,):
        if built.effort:
            built.effort(effort)
        milliseconds, recall = measured(built, data, data.texts, None)
        if recall >= 0.98:
            reached = f"{milliseconds:.2f} at {effort}" if built.effort else f"{milliseconds:.2f}"
            break
    plain = name.startswith("faiss") or len(data.rows) > PLAIN_ROWS
    hybrid = "-" if plain else f"{measured(built, data, data.texts, HYBRID)[0]:.2f}"
    return COLUMNS.format(*cells, reached, hybrid)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.index", description=__doc__)
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--queries", type=int, default=100)
    args = parser.parse_args()
    sys.path.append(str(ROOT / "tests"))
    print(COLUMNS.format(*HEAD, "at .98 of text", "hybrid"))
    for rows in args.rows:
        with tempfile.TemporaryDirectory(prefix="datumaro-clip-bench-") as folder:
            data = make_data(Path(folder), rows, args.queries)
            for name in args.engines:
                try:
                    print(line(name, BUILDERS[name](data, Path(folder)), data), flush=True)
                finally:
                    while _SERVERS:
                        _SERVERS.pop().remove()
                print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
