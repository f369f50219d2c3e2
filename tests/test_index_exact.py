"""The exact index finds what the store holds, whatever happened to the store before."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from commands import run_python
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_truth import change_items, make_items, pairs, queries_like, rows_of, true_hits, write_items

from benchmarks.vectors import clip_like_rows
from datumaro_clip.errors import IndexCacheError, InvalidVectorError, OptionError, StoreNotFoundError
from datumaro_clip.index import TARGETS, Filter, VectorIndex, open_index, vector_index
from datumaro_clip.index.cached import ArrayCache
from datumaro_clip.similarity import top_k
from datumaro_clip.store import Header, create_store, open_store
from datumaro_clip.vectors import ItemKey, VectorSpace, unit_rows

QUERIES = queries_like()


def assert_finds_the_truth(index: VectorIndex, store: Path, k: int = 6) -> None:
    """Every target, grouped by item and not, all rows and half of them."""
    with open_store(store) as reader:
        for target in TARGETS:
            rows = rows_of(reader, target)
            half = np.arange(len(rows)) % 2 == 1
            for by_item in (False, True):
                found = index.search(QUERIES, k, target=target, by_item=by_item)
                assert pairs(found) == true_hits(reader, QUERIES, k, target, by_item=by_item)
            wanted = [[hit for hit in hits if half[hit[0]]] for hits in true_hits(reader, QUERIES, len(rows), target)]
            assert pairs(index.search(QUERIES, k, half, target=target)) == [hits[:k] for hits in wanted]


@pytest.mark.parametrize("count", [0, 1, 3, 120])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_of_either_kind_finds_the_truth(tmp_path: Path, kind: str, count: int, dtype: str):
    store = write_items(tmp_path / "store", make_items(count), kind, dtype)
    index = open_index(store, cache=tmp_path / "cache")
    assert_finds_the_truth(index, store)
    assert index.verify().differences == ()


class ChangingStore(RuleBasedStateMachine):
    """Any sequence of adding, replacing, removing, opening again and crashing, with a reader of an old state."""

    @initialize(kind=st.sampled_from(["clip_mmap", "clip_hdf5"]), count=st.integers(0, 30))
    def write(self, kind: str, count: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.store = write_items(self.root / "store", make_items(count), kind)
        self.next = count
        self.open_again()
        self.old = self.index.snapshot, self.answers(self.index)

    def answers(self, index: VectorIndex) -> list[object]:
        return [pairs(index.search(QUERIES, 5, target=target)) for target in TARGETS]

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        change_items(self.store, make_items(count, 1, self.next), [])
        self.next += count

    @rule(data=st.data())
    @precondition(lambda self: self.next > 0)
    def replace_and_remove(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, self.next - 1))
        removed = [record.key for record in make_items(3, 0, data.draw(st.integers(0, self.next - 1)))]
        replaced = [
            record for record in make_items(4, data.draw(st.integers(2, 5)), first) if record.key not in removed
        ]
        change_items(self.store, replaced, removed)

    @rule()
    def open_again(self) -> None:
        self.index = open_index(self.store, cache=self.root / "cache")

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A process that was killed leaves a directory of another name, half full; or the files are gone."""
        cache = ArrayCache(self.store, self.root / "cache").root
        entries = sorted(path for path in cache.glob("*-*") if path.is_dir())
        if entries:
            victim = data.draw(st.sampled_from(entries))
            if data.draw(st.booleans()):
                shutil.copytree(victim, victim.with_name(f".{victim.name}.1-2.tmp"), dirs_exist_ok=True)
            for file in list(victim.iterdir())[data.draw(st.integers(0, 1)) :]:
                file.unlink()
        self.open_again()

    @invariant()
    def finds_the_truth(self) -> None:
        self.index.sync()
        assert_finds_the_truth(self.index, self.store)
        snapshot, answers = self.old
        assert [pairs(snapshot.search(QUERIES, 5, target=target)) for target in TARGETS] == answers

    def teardown(self) -> None:
        self.folder.cleanup()


TestChangingStore = ChangingStore.TestCase
TestChangingStore.settings = settings(max_examples=8, stateful_step_count=6, deadline=None)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_rows_are_found_as_top_k_finds_them(tmp_path: Path, dtype: str):
    """Several blocks and threads' parts, removed rows among them, masks that are gathered and such that are not."""
    rows = clip_like_rows(40_000)
    rows[100:140] = rows[0]
    header = Header(space=VectorSpace("name:many", 512), dtype=dtype)
    store = tmp_path / "store"
    with create_store(store, "clip_mmap", header) as writer:
        writer.add_rows([ItemKey(f"{i}", "train") for i in range(len(rows))], rows)
    change_items(store, [], [ItemKey(f"{i}", "train") for i in range(5, 20_000, 17)])
    index = open_index(store, cache=tmp_path / "cache")
    random = np.random.default_rng(0)
    queries = unit_rows(np.concatenate([rows[:3], random.standard_normal((4, 512))]))
    with open_store(store) as reader:
        matrix = reader.matrix()
    for k in (1, 20, 500):
        wanted = top_k(queries, matrix, k)
        one_by_one = [np.concatenate(part) for part in zip(*(index.search(q, k) for q in queries), strict=True)]
        for rows_, scores in (index.search(queries, k), one_by_one):
            np.testing.assert_array_equal(rows_, wanted[0])
            np.testing.assert_array_equal(scores, wanted[1])
    for share in (0.9, 0.5, 0.01, 0.0002):
        mask = random.random(len(matrix)) < share
        kept = np.flatnonzero(mask)
        rows_, scores = top_k(queries, matrix[kept], 20)
        found = index.search(queries, 20, mask)
        np.testing.assert_array_equal(found.rows, kept[rows_])
        np.testing.assert_array_equal(found.scores, scores)


def test_adding_builds_what_was_added_and_removing_builds_nothing(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(300))
    index = open_index(store, cache=tmp_path / "cache")
    first = index.sync()
    assert (first.built, first.reused, first.removed) == (4, 0, 0)
    change_items(store, make_items(5, 0, 300), [])
    second = index.sync()
    assert (second.built, second.reused, second.removed) == (4, 4, 0)
    change_items(store, [], [record.key for record in make_items(50)])
    third = index.sync()
    assert (third.built, third.reused, third.removed) == (0, 8, 0)


def test_small_segments_are_merged_and_their_files_removed(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(2))
    index = open_index(store, cache=tmp_path / "cache")
    for count in range(2, 22, 2):
        change_items(store, make_items(2, 0, count), [])
        index.sync()
    root = ArrayCache(store, tmp_path / "cache").root
    assert len(list(root.glob("pictures-codes-*"))) <= 5
    assert_finds_the_truth(index, store)


def test_a_snapshot_looks_at_the_manifest_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`refresh` sees a later write, but reads no manifest more often than that."""
    now = 1000.0
    monkeypatch.setattr(vector_index.time, "monotonic", lambda: now)
    store = write_items(tmp_path / "store", make_items(4))
    index = open_index(store, cache=tmp_path / "cache")
    old = index.refresh()
    change_items(store, make_items(4, 0, 4), [])
    assert index.refresh() is old
    now += 1.1
    new = index.refresh()
    assert (len(old.targets["pictures"]), len(new.targets["pictures"])) == (4, 8)
    now += 1.1
    assert index.refresh() is new


def test_threads_search_while_another_adds(tmp_path: Path):
    """Every answer is that of one state of the store: no row twice, none that is not there yet."""
    store = write_items(tmp_path / "store", make_items(40))
    index = open_index(store, cache=tmp_path / "cache")
    index.sync()
    faults: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            snapshot = index.snapshot
            found = snapshot.search(QUERIES, 1000)
            if any(sorted(rows) != list(range(len(snapshot.targets["pictures"]))) for rows in found.rows.tolist()):
                faults.append(found)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for count in range(40, 100, 10):
        change_items(store, make_items(10, 0, count), [record.key for record in make_items(2, 0, count - 20)])
        index.sync()
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert_finds_the_truth(index, store)


def test_processes_share_the_files(tmp_path: Path):
    """What one process built another finds, and its answers are the same."""
    store = write_items(tmp_path / "store", make_items(60))
    open_index(store, cache=tmp_path / "cache").sync()
    printed = run_python(
        "from pathlib import Path\n"
        "from datumaro_clip.index import open_index\n"
        f"print(open_index({str(store)!r}, cache=Path({str(tmp_path / 'cache')!r})).sync().built)"
    )
    assert printed.strip() == "0"


def test_verifying_finds_a_damaged_file(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(60))
    index = open_index(store, cache=tmp_path / "cache")
    assert index.verify().differences == ()
    [codes] = ArrayCache(store, tmp_path / "cache").root.glob("pictures-codes-*/codes.npy")
    content = bytearray(codes.read_bytes())
    content[-3] ^= 64
    codes.write_bytes(content)
    [difference, *_] = open_index(store, cache=tmp_path / "cache").verify().differences
    assert str(codes) in difference
    assert "contradicts its checksum" in difference


def test_bad_questions_are_refused(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(10))
    index = open_index(store, cache=tmp_path / "cache")
    with pytest.raises(InvalidVectorError, match="do not fit vectors of contract"):
        index.search(np.ones((1, 5), np.float32), 3)
    with pytest.raises(InvalidVectorError, match="not finite"):
        index.search(np.full(8, np.nan, np.float32), 3)
    with pytest.raises(InvalidVectorError, match="wanted a matrix"):
        index.search(np.ones((1, 8), np.int64), 3)
    with pytest.raises(InvalidVectorError, match="a mask of shape"):
        index.search(QUERIES, 3, np.ones(3, bool))
    with pytest.raises(OptionError, match="k is 0"):
        index.search(QUERIES, 0)
    with pytest.raises(OptionError, match="no target 'words'"):
        index.search(QUERIES, 1, target="words")
    with pytest.raises(StoreNotFoundError):
        open_index(tmp_path / "nowhere", cache=tmp_path / "cache").sync()


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(3))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IndexCacheError, match="cannot be written"):
        open_index(store, cache=tmp_path / "file").sync()


def test_filters_and_masks_that_match_nothing_find_nothing(tmp_path: Path):
    store = write_items(tmp_path / "store", make_items(10))
    index = open_index(store, cache=tmp_path / "cache")
    for nothing in (Filter(subsets=("none",)), np.zeros(10, bool)):
        assert index.search(QUERIES, 3, nothing).rows.shape == (len(QUERIES), 0)
    assert index.search(QUERIES[:0], 3).rows.shape == (0, 0)
