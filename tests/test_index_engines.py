"""Every engine gives the same answers, from real servers, and says the same of what is wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_truth import START, change_items, make_items, queries_like, rows_of, write_items

from datumaro_clip.errors import EngineMismatchError, InvalidVectorError, OptionError
from datumaro_clip.index import TARGETS, Filter, VectorIndex, make_engine, open_index, remote, usearch
from datumaro_clip.index.opensearch_bodies import index_body, search_body
from datumaro_clip.index.remote import RemoteEngine
from datumaro_clip.index.usearch import UsearchEngine
from datumaro_clip.similarity import exact_scores
from datumaro_clip.similarity.scores import FloatArray, IndexArray
from datumaro_clip.store import Header, Record, create_store, open_store
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

QUERIES = queries_like()
ENGINES = ("exact", "usearch", "pgvector", "opensearch")
FILTERS = [
    Filter(subsets=("train", "val")),
    Filter(classes=("dog",), min_score=0.75),
    Filter(tags=("t1", "common")),
    Filter(added_from=START + timedelta(days=30), added_before=START + timedelta(days=200)),
    Filter(attributes={"weather": ["sun", None], "height": [1, 0.5]}),
    Filter(attributes={"height": []}),
    Filter(subsets=("train",), classes=("cat", "bird"), min_score=0.5, tags=("common",), added_before=START),
]

Opened = Callable[..., VectorIndex]


@pytest.fixture(params=ENGINES)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], VectorIndex]]:
    """Opens an index of a store in one engine; a server's is another one for each test."""
    # A server would not be asked about so few rows.
    monkeypatch.setattr(remote, "_FEW_ROWS", 0)
    name, made = f"test_{os.getpid()}_{abs(hash(request.node.name)) % 10**9}", []

    def open_in(store: Path) -> VectorIndex:
        if request.param in ("exact", "usearch"):
            engine = UsearchEngine(least_rows=8) if request.param == "usearch" else make_engine()
            return VectorIndex(store, engine, tmp_path / "cache")
        if request.param == "pgvector":
            server = request.getfixturevalue("postgres")
            monkeypatch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", server.password)
            url = f"{server.url}#{name}"
        else:
            url = f"{request.getfixturevalue('opensearch')}/{name}"
        index = open_index(store, url, cache=tmp_path / "cache", time_limit=60)
        made.append(index.engine.remote)
        return index

    yield open_in
    for one in made:
        one.remove()
        one.close()


def assert_finds_the_truth(index: VectorIndex, store: Path, k: int = 6) -> None:
    """Of every target, grouped and not, filtered by masks and filters: as many rows as there are, with their own
    scores, and the best of all, as far as the engine promises to find them.
    """
    with open_store(store) as reader:
        for target in TARGETS:
            rows = rows_of(reader, target)
            items = np.array([row.item for row in rows])
            exact = np.stack([exact_scores(query, np.stack([row.vector for row in rows])) for query in QUERIES])
            wanted, hits = 0, 0
            for mask in (None, np.arange(len(rows)) % 2 == 1, *FILTERS):
                allowed = index.snapshot.mask(mask, target) if isinstance(mask, Filter) else mask
                kept = np.arange(len(rows)) if allowed is None else np.flatnonzero(allowed)
                for by_item in (False, True):
                    found = index.search(QUERIES, k, mask, target=target, by_item=by_item)
                    for of_all, mine, scores in zip(exact, found.rows.tolist(), found.scores, strict=True):
                        best = _best_scores(of_all[kept], items[kept], k, by_item)
                        assert len(scores) == len(best)
                        assert scores.tolist() == sorted(of_all[mine].tolist(), reverse=True)
                        assert len(set(items[mine].tolist() if by_item else mine)) == len(mine)
                        assert set(mine) <= set(kept.tolist())
                        wanted += len(best)
                        hits += int((Counter(best) & Counter(scores.tolist())).total())
            assert hits >= index.engine.least_recall * wanted


def _best_scores(scores: FloatArray, items: IndexArray, k: int, by_item: bool) -> list[float]:
    """The k best scores; of each item its best."""
    if by_item:
        scores = np.array([scores[items == item].max() for item in np.unique(items)], np.float32)
    return sorted(scores.tolist(), reverse=True)[:k]


def test_answers_are_those_of_the_store(opened: Opened, tmp_path: Path):
    """Before and after items are added, replaced and removed."""
    store = write_items(tmp_path / "store", make_items(150))
    index = opened(store)
    index.sync()
    assert_finds_the_truth(index, store)
    change_items(store, [*make_items(40, 1, 130), *make_items(20, 2, 10)], [r.key for r in make_items(30, 0, 60)])
    index.sync()
    assert_finds_the_truth(index, store)
    assert index.verify().differences == ()


def test_of_a_graph_only_the_rows_that_a_query_reached_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """usearch leaves old memory behind the rows found: here the number of no row, and of one found before."""
    library = pytest.importorskip("usearch.index", reason="needs the extra 'ann'")
    real = library.Index.search

    def reaches_fewer(graph: Any, *args: Any, **options: Any) -> Any:
        found = real(graph, *args, **options)
        counts = np.array(found.counts) - 5
        for keys, n in zip(found.keys, counts, strict=True):
            keys[n:], keys[n] = 2**40, keys[0]
        return library.BatchMatches(
            found.keys, found.distances, counts, found.visited_members, found.computed_distances
        )

    store = write_items(tmp_path / "store", make_items(150))
    index = VectorIndex(store, UsearchEngine(least_rows=8), tmp_path / "cache")
    index.sync()
    monkeypatch.setattr(library.Index, "search", reaches_fewer)
    assert_finds_the_truth(index, store)


@pytest.mark.parametrize(("given", "looked_at"), [(None, {29, 20}), (400, {400})])
def test_the_larger_a_graph_the_more_of_it_is_looked_at(
    given: int | None, looked_at: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of 150 items 135 have vectors, of 40 items 36."""
    library = pytest.importorskip("usearch.index", reason="needs the extra 'ann'")
    monkeypatch.setattr(usearch, "_EXPANSION", 20)
    seen, real = set(), library.Index.search

    def noted(graph: Any, *args: Any, **options: Any) -> Any:
        seen.add(graph.expansion_search)
        return real(graph, *args, **options)

    for count in (150, 40):
        index = VectorIndex(
            write_items(tmp_path / f"store-{count}", make_items(count)),
            UsearchEngine(least_rows=8, expansion_search=given),
            tmp_path / f"cache-{count}",
        )
        index.sync()
        with monkeypatch.context() as patch:
            patch.setattr(library.Index, "search", noted)
            index.search(np.ones(8, np.float32), 1)
    assert seen == looked_at


def test_a_graph_that_many_threads_make_reaches_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of usearch alone, a few rows of most such graphs are never found."""
    pytest.importorskip("usearch", reason="needs the extra 'ann'")
    monkeypatch.setattr(usearch, "available_processors", lambda: 8)
    for number in range(5):
        store = write_items(tmp_path / f"store-{number}", make_items(300, number))
        index = VectorIndex(store, UsearchEngine(least_rows=8), tmp_path / "cache")
        index.sync()
    unreached = [np.load(path) for path in (tmp_path / "cache").rglob("unreached.npy")]
    assert len(unreached) == 5 * len(TARGETS)
    assert sum(map(len, unreached)) == 0


def test_rows_that_no_search_of_a_graph_reaches_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As of many equal rows, which link to one another only; here each third row."""
    library = pytest.importorskip("usearch.index", reason="needs the extra 'ann'")
    real = library.Index.search

    def passes_over(graph: Any, queries: Any, count: int, **options: Any) -> Any:
        queries = np.atleast_2d(queries)
        found = real(graph, queries, len(graph), **options)
        reached = [keys[keys % 3 != 0][:count] for keys in found.keys]
        keys = np.stack([np.pad(kept, (0, count - len(kept))) for kept in reached])
        counts = np.array([len(kept) for kept in reached])
        table = library.BatchMatches(keys, np.zeros(keys.shape, np.float32), counts, 0, 0)
        return table if len(queries) > 1 else table[0]

    monkeypatch.setattr(library.Index, "search", passes_over)
    store = write_items(tmp_path / "store", make_items(150))
    index = VectorIndex(store, UsearchEngine(least_rows=8), tmp_path / "cache")
    index.sync()
    assert_finds_the_truth(index, store)


def test_an_index_of_an_empty_store_is_filled_and_emptied(opened: Opened, tmp_path: Path):
    store = write_items(tmp_path / "store", [])
    index = opened(store)
    index.sync()
    assert [index.search(QUERIES, 3, target=target).rows.shape for target in TARGETS] == [(len(QUERIES), 0)] * 3
    change_items(store, make_items(30), [])
    index.sync()
    assert_finds_the_truth(index, store)
    change_items(store, [], [record.key for record in make_items(30)])
    index.sync()
    assert index.search(QUERIES, 3).rows.shape == (len(QUERIES), 0)
    assert index.verify().differences == ()


def test_a_thousand_deletions_leave_the_others(opened: Opened, tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(1200))
    index = opened(store)
    index.sync()
    change_items(store, [], [record.key for record in make_items(1000, 0, 50)])
    index.sync()
    with open_store(store) as reader:
        assert len(reader) == 200
    assert_finds_the_truth(index, store)
    assert index.verify().differences == ()


def test_any_text_may_be_an_id(opened: Opened, tmp_path: Path):
    """Also one longer than an engine's own ids may be."""
    ids = ["a/b", "a b", "..", "#", "ü", "x" * 600, "'; DROP TABLE item; --", '"}', "{0}", "%s"]
    vectors = unit_rows(np.random.default_rng(0).standard_normal((len(ids), 8)))
    store = write_items(tmp_path / "store", [])
    change_items(store, [Record(ItemKey(id, id[:9]), {}, v) for id, v in zip(ids, vectors, strict=True)], [])
    index = opened(store)
    index.sync()
    found = index.search(vectors, 1)
    assert [index.snapshot.targets["pictures"].key(row).id for row in found.rows[:, 0]] == ids
    assert index.verify().differences == ()


@pytest.fixture
def remote_index(opened: Opened, tmp_path: Path, request: pytest.FixtureRequest) -> VectorIndex:
    """A filled index in a server."""
    if request.node.callspec.params["opened"] not in ("pgvector", "opensearch"):
        pytest.skip("not on this machine: the engine keeps nothing outside the cache")
    index = opened(write_items(tmp_path / "store", make_items(60)))
    index.sync()
    return index


servers = pytest.mark.parametrize("opened", ["pgvector", "opensearch"], indirect=True)


@servers
def test_vectors_of_another_space_are_refused(remote_index: VectorIndex, opened: Opened, tmp_path: Path):
    """Another dimension, and the same one of another model; the message names both spaces."""
    for fingerprint, dimension in (("name:other", 12), ("name:other", 8)):
        space = VectorSpace(fingerprint, dimension, "other")
        path = tmp_path / f"other{dimension}"
        with create_store(path, "clip_mmap", Header(space=space)) as writer:
            writer.add_rows([ItemKey("a", "train")], unit_rows(np.ones((1, dimension))))
        index = VectorIndex(path, remote_index.engine, tmp_path / "cache")
        with pytest.raises(EngineMismatchError) as refused:
            index.sync()
        assert f"other (name:other, {dimension} dimensions)" in str(refused.value)
        assert "contract (sha256:5555" in str(refused.value)
    assert remote_index.verify().differences == ()


@servers
def test_another_store_is_refused_until_the_index_is_emptied(remote_index: VectorIndex, tmp_path: Path):
    """Its items would otherwise take the place of those that are there."""
    other = write_items(tmp_path / "other", make_items(5, 7))
    index = VectorIndex(other, remote_index.engine, tmp_path / "cache")
    with pytest.raises(EngineMismatchError, match="holds another store"):
        index.sync()
    assert remote_index.verify().differences == ()
    engine = remote_index.engine
    assert isinstance(engine, RemoteEngine)
    with open_store(other) as reader:
        assert not engine.create(reader)
        assert engine.create(reader, overwrite=True)
    index.sync()
    assert index.verify().differences == ()
    assert any("lacks item" in difference for difference in remote_index.verify().differences)


@pytest.mark.parametrize("opened", ["opensearch"], indirect=True)
def test_words_and_vectors_are_merged_by_rank(opened: Opened, tmp_path: Path):
    """The only item that has the words and is near comes first; a filter holds for both rankings."""
    vectors = unit_rows(np.random.default_rng(0).standard_normal((40, 8)))
    texts = ["a red lamp", "two lamps", "nothing"]
    store = write_items(tmp_path / "store", [])
    records = [
        Record(
            ItemKey(f"{i}", "train" if i % 2 else "val"),
            {"annotations": [{"type": "Caption", "caption": texts[2] if i > 9 else texts[i % 2]}]},
            vector,
        )
        for i, vector in enumerate(vectors)
    ]
    change_items(store, records, [])
    snapshot = opened(store).snapshot
    near = snapshot.search(vectors[4], 40).rows[0].tolist()
    found = snapshot.search_words("red lamp", vectors[4], 3)
    assert found.rows[0, 0] == 4
    assert set(found.rows[0].tolist()) <= {0, 2, 4, 6, 8}
    assert found.scores.tolist() == [exact_scores(vectors[4], vectors[found.rows[0]]).tolist()]
    assert near[0] == 4
    only = snapshot.search_words("red lamp", vectors[4], 40, Filter(subsets=("train",)))
    assert {int(row) % 2 for row in only.rows[0]} == {1}


def test_words_need_an_engine_that_knows_them(tmp_path: Path):
    index = open_index(write_items(tmp_path / "store", make_items(9)), cache=tmp_path / "cache")
    with pytest.raises(OptionError, match="no words"):
        index.snapshot.search_words("lamp", QUERIES[0], 3)


def test_what_is_sent_to_opensearch_is_as_its_page_says():
    """The index's body and a filtered search, as they go over the wire."""
    body = index_body(VectorSpace("name:x", 3, "x"), shards=2, replicas=1, connectivity=16, expansion_add=512)
    assert body["settings"] == {"index": {"knn": True, "number_of_shards": 2, "number_of_replicas": 1}}
    assert body["mappings"]["dynamic"] == "strict"
    vector = {
        "type": "knn_vector",
        "dimension": 3,
        "method": {
            "name": "hnsw",
            "space_type": "cosinesimil",
            "engine": "lucene",
            "parameters": {"m": 16, "ef_construction": 512},
        },
    }
    assert body["mappings"]["properties"]["global_image_embedding"] == vector
    assert body["mappings"]["properties"]["detected_objects"]["properties"]["object_embedding"] == vector
    query = np.array([1, 0, 0], np.float32)
    wanted = Filter(tags=("a",), min_score=0.5, added_from=START)
    assert search_body("pictures", query, 100, wanted)["query"] == {
        "knn": {
            "global_image_embedding": {
                "vector": [1.0, 0.0, 0.0],
                "k": 100,
                "filter": {
                    "bool": {
                        "filter": [
                            {"terms": {"tags": ["a"]}},
                            {"range": {"score": {"gte": 0.5}}},
                            {"range": {"upload_date": {"gte": START.isoformat()}}},
                        ]
                    }
                },
            }
        }
    }


@servers
def test_verifying_finds_what_was_changed_behind_our_back(remote_index: VectorIndex):
    engine = remote_index.engine
    assert isinstance(engine, RemoteEngine)
    state = engine.remote.state()
    assert state is not None
    gone = make_items(1)[0].key
    engine.remote.delete([gone], 9, state)
    engine.remote.finish(state)
    differences = remote_index.verify().differences
    assert any(difference.endswith(f"lacks item {gone}") for difference in differences)
    assert any("holds 59 items, the store 60" in difference for difference in differences)


@servers
def test_an_older_push_does_not_replace_a_newer_one(remote_index: VectorIndex, tmp_path: Path):
    """A process that pushes an older state than the one that is there is refused."""
    with open_store(remote_index.path) as old:
        change_items(remote_index.path, make_items(20, 3), [])
        remote_index.sync()
        engine = remote_index.engine
        assert isinstance(engine, RemoteEngine)
        with pytest.raises(EngineMismatchError, match="holds a later version"):
            engine.push(old)
    remote_index.sync()
    assert remote_index.verify().differences == ()


@servers
def test_pushing_again_sends_nothing(remote_index: VectorIndex, monkeypatch: pytest.MonkeyPatch):
    engine = remote_index.engine
    assert isinstance(engine, RemoteEngine)
    sent: list[object] = []
    monkeypatch.setattr(engine.remote, "upsert", lambda documents, state: sent.append(documents))
    remote_index.sync()
    assert sent == []


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("", {}, "there is no engine ''"),
        ("faiss", {}, "there is no engine 'faiss'"),
        ("ftp://host/index", {}, "there is no engine"),
        ("exact", {"shards": 2}, "has no option shards"),
        ("usearch", {"expansion_search": 64}, "below 200"),
        ("postgresql://me:secret@host/db", {}, "a password in the URL"),
        ("postgresql://host/db#Bad Name", {}, "cannot be a schema's name"),
        ("http://me:secret@host:9200/index", {}, "a password in the URL"),
        ("http://host:9200/", {}, "cannot be an index's name"),
        ("http://host:9200/UPPER", {}, "cannot be an index's name"),
    ],
)
def test_engines_that_cannot_be_are_refused(engine: str, options: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        make_engine(engine, **options)


def test_zero_queries_are_refused(opened: Opened, tmp_path: Path):
    """A cosine with them says nothing; OpenSearch would not notice."""
    index = opened(write_items(tmp_path / "store", make_items(9)))
    with pytest.raises(InvalidVectorError, match="all zeros"):
        index.search(np.zeros(8, np.float32), 1)
