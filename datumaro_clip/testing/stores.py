"""Tests that every kind of store must pass: subclass :class:`StoreContract`, and name the kind."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datumaro_clip.errors import (
    InvalidVectorError,
    OptionError,
    SpaceMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from datumaro_clip.store import (
    VECTOR_GROUPS,
    Header,
    ObjectVector,
    Record,
    StoreReader,
    StoreWriter,
    append_to_store,
    create_store,
    media_path,
    merge_stores,
    open_store,
    store_digest,
    store_kind,
)
from datumaro_clip.store.base import Array, key_hash
from datumaro_clip.testing.records import (
    HEADER,
    SPACE,
    assert_same,
    files_of,
    make_records,
    vectors_in,
    vectors_of,
)
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace


def _fail_within(writer: StoreWriter) -> None:
    """Write something, then fail."""
    with writer:
        writer.add(make_records(5)[4])
        writer.media.add_bytes(b"picture", "a.jpg")
        raise ZeroDivisionError


def _assert_holds(reader: StoreReader, wanted: Sequence[Record], dtype: str = "float32") -> None:
    """Assert that a store holds these records in order, and that its keys, counts and checksums agree with them."""
    assert_same(reader.records(), wanted, dtype)
    assert len(reader) == len(wanted)
    assert list(reader.keys()) == [record.key for record in wanted]
    assert [reader.find(record.key) for record in wanted] == list(range(len(wanted)))
    assert reader.subsets == Counter(record.key.subset for record in wanted)
    for group, count in zip(
        VECTOR_GROUPS, (reader.embedding_count, reader.caption_count, reader.object_count), strict=True
    ):
        assert count == sum(len(vectors_in(record, group)) for record in wanted)
    assert len(reader.matrix()) == reader.embedding_count
    reader.check()


class StoreContract:
    """Tests that every kind of store must pass.

    Attributes
    ----------
    kind : str
        The kind under test.
    """

    kind: str

    def write(self, path: Path, records: list[Record], header: Header = HEADER, *, overwrite: bool = False) -> Path:
        """Write a store of these records, and return its path."""
        with create_store(path, self.kind, header, overwrite=overwrite) as writer:
            for record in records:
                writer.add(record)
        return path

    @pytest.mark.parametrize("count", [0, 1, 2, 7, 1500])
    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_what_is_written_is_read(self, tmp_path: Path, count: int, dtype: str) -> None:
        """Records, their order, their vectors and their counts come back, of none, of one and of many blocks."""
        records = make_records(count)
        header = Header(space=SPACE, dtype=dtype, infos={"a": [1, None, "ü"]})
        with open_store(self.write(tmp_path / "store", records, header)) as reader:
            _assert_holds(reader, records, dtype)
            assert reader.header == header

    @pytest.mark.parametrize("group", VECTOR_GROUPS)
    def test_vectors_are_rows_of_a_matrix(self, tmp_path: Path, group: str) -> None:
        """Pictures', captions' and objects' vectors know their items and can be indexed as an array of all of them."""
        records = make_records(60)
        path = self.write(tmp_path / "store", records[:40])
        with append_to_store(path) as writer:
            for record in records[5:9]:
                writer.remove(record.key)
            for record in [records[20], *records[40:]]:
                writer.add(record)
        left = [*records[:5], *records[9:20], *records[21:40], records[20], *records[40:]]
        wanted = [(row, vector) for row, record in enumerate(left) for vector in vectors_in(record, group)]
        with open_store(path) as reader:
            matrix, rows = np.stack([vector for _, vector in wanted]), reader.stored_rows(group)
            np.testing.assert_array_equal(reader.vector_rows(group), [row for row, _ in wanted])
            assert (rows.ndim, rows.shape, rows.dtype, len(rows)) == (2, matrix.shape, matrix.dtype, len(matrix))
            for part in (slice(None), slice(0, 0), slice(3, 4), slice(10, None), slice(3, 1000), slice(None, None, -2)):
                np.testing.assert_array_equal(rows[part], matrix[part])
            chosen: list[Any] = [[], [7], [len(matrix) - 1, 0, 12, 12, 3], [-1, -len(matrix)], matrix[:, 0] > 0, 3, -1]
            for indices in chosen:
                np.testing.assert_array_equal(rows[indices], matrix[indices])
            refused: list[Any] = [[len(matrix)], -len(matrix) - 1, [0.5], np.ones(3, bool), [[1]], None]
            for wrong in refused:
                with pytest.raises(IndexError):
                    rows[wrong]

    def test_the_matrix_holds_the_pictures_that_are_there(self, tmp_path: Path) -> None:
        """The matrix and its keys agree with the records, and a removed row is not in it."""
        records = make_records(50)
        path = self.write(tmp_path / "store", records)
        for left in (records, records[:2] + records[3:]):
            wanted = [record for record in left if record.embedding is not None]
            with open_store(path) as reader:
                np.testing.assert_array_equal(reader.matrix(), vectors_of(wanted))
                assert list(reader.embedding_keys()) == [record.key for record in wanted]
            with append_to_store(path) as writer:
                writer.remove(records[2].key)

    def test_columns_come_without_the_items(self, tmp_path: Path) -> None:
        """An index reads keys, payloads, live rows and objects of a segment, and notices later writes."""
        records = make_records(30)
        path = self.write(tmp_path / "store", records)
        with open_store(path) as reader:
            before, segment = reader.digest, reader.segments[0]
            assert store_digest(path) == before
            assert list(segment.parsed()) == [(record.key, record.payload) for record in records]
            digest = segment.entry.digest
        with append_to_store(path) as writer:
            writer.remove(records[4].key)
        with open_store(path) as reader:
            assert store_digest(path) == reader.digest != before
            segment = reader.segments[0]
            assert (segment.entry.name, segment.entry.digest) == ("segment-000001", digest)
            assert list(segment.keys()) == [record.key for record in records]
            assert np.flatnonzero(~segment.is_live).tolist() == [4]
            assert reader.object_count == len(reader.vector_rows("objects"))
            (block,) = reader.objects()
            wanted = [(row, o) for row, r in enumerate(records[:4] + records[5:]) for o in r.objects]
            assert block.rows.tolist() == [row for row, _ in wanted]
            assert block.annotations.tolist() == [o.annotation_index for _, o in wanted]
            assert block.classes.tolist() == [o.class_name for _, o in wanted]
            assert block.detectors.tolist() == [o.detector for _, o in wanted]
            assert [tuple(box) for box in block.boxes.tolist()] == [o.bbox for _, o in wanted]
            np.testing.assert_array_equal(block.vectors, [o.vector for _, o in wanted])
            np.testing.assert_array_equal(block.confidences, np.array([o.confidence for _, o in wanted], np.float32))
            assert [source.tobytes().hex().strip("0") for source in block.sources] == [
                o.source.strip("0") for _, o in wanted
            ]

    def test_an_item_is_found_by_its_key(self, tmp_path: Path) -> None:
        """A key leads to its row, and a key that is not there to none."""
        records = make_records(30)
        with open_store(self.write(tmp_path / "store", records)) as reader:
            assert reader.find(records[29].key) == 29
            assert reader.find(ItemKey("nobody", "train")) is None
            with pytest.raises(IndexError):
                reader.record(30)

    def test_items_of_one_hash_are_told_apart(self, tmp_path: Path) -> None:
        """Of two ids with equal CRC-32, the one that is asked for is found, replaced and removed."""
        one, other = (ItemKey(id, "train") for id in ("plumless", "buckeroo"))
        assert key_hash(one) == key_hash(other)
        path = self.write(tmp_path / "store", [Record(ItemKey("first", "train")), Record(one)])
        with open_store(path) as reader:
            assert (reader.find(other), reader.find_all([other, one])) == (None, [None, 1])
        with append_to_store(path) as writer:
            assert not writer.remove(other)
            writer.add(Record(other))
        with open_store(path) as reader:
            assert [reader.find(key) for key in (one, other)] == reader.find_all([one, other]) == [1, 2]
        with append_to_store(path) as writer:
            assert writer.remove(one)
        with open_store(path) as reader:
            assert (reader.find(one), reader.find(other)) == (None, 1)

    def test_the_same_input_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Nothing of the time, the place or the process gets into the files."""
        first, second = (self.write(tmp_path / name, make_records(40)) for name in ("one", "two"))
        assert files_of(first) == files_of(second)

    def test_changes_cost_a_segment_and_spare_the_others(self, tmp_path: Path) -> None:
        """Adding, replacing and removing change no stored file but the manifest, and readers see them all."""
        records = make_records(12)
        path = self.write(tmp_path / "store", records)
        before = files_of(path)
        changed = Record(records[0].key, {"new": True})
        added = Record(ItemKey("added", "test"), {}, records[0].embedding)
        with append_to_store(path) as writer:
            writer.add(changed)
            writer.add(added)
            assert writer.remove(records[5].key)
            assert not writer.remove(records[5].key)
            assert not writer.remove(ItemKey("nobody", "train"))
        after = files_of(path)
        assert {name for name in before if after.get(name) != before[name]} == {f"{self.kind}.json"}
        wanted = [*records[1:5], *records[6:], changed, added]
        with open_store(path) as reader:
            _assert_holds(reader, wanted)

    def test_removing_everything_leaves_an_empty_store(self, tmp_path: Path) -> None:
        """An emptied store is a store, and can be filled again."""
        records = make_records(5)
        path = self.write(tmp_path / "store", records)
        with append_to_store(path) as writer:
            assert all(writer.remove(record.key) for record in records)
        with open_store(path) as reader:
            assert (len(reader), reader.subsets, reader.matrix().shape) == (0, {}, (0, 8))
        with append_to_store(path) as writer:
            writer.add(records[0])
        with open_store(path) as reader:
            _assert_holds(reader, records[:1])

    def test_an_open_reader_keeps_its_store(self, tmp_path: Path) -> None:
        """Appending to, emptying and overwriting a store do not affect an open reader."""
        records = make_records(9)
        path = self.write(tmp_path / "store", records)
        with open_store(path) as reader:
            with append_to_store(path) as writer:
                for record in records:
                    writer.remove(record.key)
            self.write(path, make_records(3, seed=1), overwrite=True)
            _assert_holds(reader, records)

    def test_an_exception_leaves_what_was_there(self, tmp_path: Path) -> None:
        """A write that fails changes no byte, and a first one leaves no directory."""
        path = self.write(tmp_path / "store", make_records(4))
        before = files_of(path)
        for writer in (append_to_store(path), create_store(tmp_path / "new", self.kind, HEADER)):
            with pytest.raises(ZeroDivisionError):
                _fail_within(writer)
        with pytest.raises(ZeroDivisionError):
            _fail_within(create_store(path, self.kind, HEADER, overwrite=True))
        assert files_of(path) == before
        assert not (tmp_path / "new").exists()

    def test_overwriting_leaves_nothing_of_the_old(self, tmp_path: Path) -> None:
        """Old segments and media go once the new store stands."""
        with create_store(tmp_path / "store", self.kind, HEADER) as writer:
            old = writer.media.add_bytes(b"old", "a.jpg")
        path = self.write(tmp_path / "store", make_records(2), overwrite=True)
        assert not (path / old).exists()
        segment = store_kind(self.kind).segment_path(path, "segment-000001")
        assert segment.exists()
        self.write(path, make_records(3), overwrite=True)
        assert not segment.exists()

    def test_one_writer_at_a_time(self, tmp_path: Path) -> None:
        """A second writer is refused, whatever it would do."""
        path = self.write(tmp_path / "store", make_records(2))
        with append_to_store(path) as writer:
            with pytest.raises(StoreWriteError, match="another writer"):
                append_to_store(path)
            with pytest.raises(StoreWriteError, match="another writer"):
                create_store(path, self.kind, HEADER, overwrite=True)
            writer.remove(make_records(1)[0].key)
        assert len(open_store(path)) == 1

    def test_a_store_is_not_overwritten_unasked(self, tmp_path: Path) -> None:
        """Creating where a store is takes ``overwrite``."""
        path = self.write(tmp_path / "store", make_records(2))
        with pytest.raises(StoreWriteError, match="already"):
            create_store(path, self.kind, HEADER)

    def test_two_items_of_one_key_are_refused(self, tmp_path: Path) -> None:
        """An item that would hide another is an error that names it."""
        record = make_records(1)[0]
        with pytest.raises(StoreWriteError, match="two items are called dir/0 é@train"):
            self.write(tmp_path / "store", [record, record])
        assert not (tmp_path / "store").exists()

    def test_vectors_of_another_space_are_refused(self, tmp_path: Path) -> None:
        """One store, one space."""
        path = self.write(tmp_path / "store", make_records(2))
        other = VectorSpace("sha256:" + "6" * 64, 8, "other")
        with pytest.raises(SpaceMismatchError, match="other"), append_to_store(path) as writer:
            writer.declare(Provenance(other, "f32", "CPU"))

    @pytest.mark.parametrize(
        "vector", [np.zeros(8), np.full(8, np.nan), np.ones(8), np.ones(7) / np.sqrt(7), np.ones((1, 8))]
    )
    def test_what_is_no_unit_vector_is_refused(self, tmp_path: Path, vector: Array) -> None:
        """Zero, NaN, unnormalised and misshapen vectors never get into a store."""
        with pytest.raises(InvalidVectorError):
            self.write(tmp_path / "store", [Record(ItemKey("a", "train"), {}, vector.astype(np.float32))])
        assert not (tmp_path / "store").exists()

    def test_objects_of_the_first_item_come_too(self, tmp_path: Path) -> None:
        """Each column of the objects has as many rows as there are objects."""
        records = make_records(5)[1:]
        with open_store(self.write(tmp_path / "store", records)) as reader:
            (block,) = reader.objects()
        rows = [row for row, record in enumerate(records) for _ in record.objects]
        assert block.rows.tolist() == rows
        assert rows[0] == 0
        assert {len(column) for column in block} == {len(rows)}

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"bbox": (5, 0, 4, 1)}, {"bbox": (0, math.nan, 1, 1)}, {"confidence": 1.5}, {"confidence": math.nan}),
            {"confidence": -0.5},
            *({"source": "abc"}, {"annotation_index": -1}, {"vector": np.ones(8, np.float32)}),
        ],
    )
    def test_what_is_no_object_is_refused(self, tmp_path: Path, wrong: dict[str, Any]) -> None:
        """Impossible boxes, confidences, digests, annotations and vectors never get into a store."""
        sound = ObjectVector(0, vectors_of(make_records(1))[0], (0, 0, 1, 1))
        with pytest.raises(InvalidVectorError, match=r"a@train|length"):
            self.write(tmp_path / "store", [Record(ItemKey("a", "train"), objects=(replace(sound, **wrong),))])

    def test_rows_in_bulk_are_rows(self, tmp_path: Path) -> None:
        """``add_rows`` stores what ``add`` stores, byte for byte."""
        records = [r for r in make_records(1400) if r.embedding is not None]
        plain = [Record(record.key, {}, record.embedding) for record in records]
        one_by_one = self.write(tmp_path / "one", plain)
        with create_store(tmp_path / "bulk", self.kind, HEADER) as writer:
            writer.add_rows([r.key for r in plain], vectors_of(plain))
        assert files_of(tmp_path / "bulk") == files_of(one_by_one)

    def test_merged_stores_hold_what_each_of_them_held(self, tmp_path: Path) -> None:
        """Records, removed rows, vectors of every group, in the order of the stores; the sources stay as they are."""
        records = make_records(40)
        paths = [self.write(tmp_path / str(n), records[10 * n : 10 * n + 10]) for n in range(4)]
        with append_to_store(paths[1]) as writer:
            writer.remove(records[12].key)
            writer.add(Record(ItemKey("added", "test"), {"new": True}, records[0].embedding))
        before = [files_of(path) for path in paths]
        merged = merge_stores(paths[::-1], tmp_path / "merged")
        with open_store(tmp_path / "merged") as reader:
            wanted = [record for path in paths[::-1] for record in open_store(path).records()]
            assert merged == (4, len(wanted), 0)
            _assert_holds(reader, wanted)
        assert [files_of(path) for path in paths] == before
        written = files_of(tmp_path / "merged")
        assert merge_stores(paths[::-1], tmp_path / "merged") == merged
        with pytest.raises(StoreWriteError, match="already, which overwriting would delete"):
            merge_stores(paths, tmp_path / "merged")
        assert files_of(tmp_path / "merged") == written

    def test_a_merged_store_outlives_its_sources_and_is_a_store_like_any(self, tmp_path: Path) -> None:
        """Copied or linked: sources can be removed, and items added, replaced and removed."""
        records = make_records(12)
        for link in (True, False):
            paths = [self.write(tmp_path / f"{n} {link}", records[4 * n : 4 * n + 4]) for n in range(2)]
            merge_stores(paths, path := tmp_path / f"merged {link}", link=link)
            shared = {file.stat().st_ino for source in paths for file in source.rglob("*.*") if file.is_file()}
            is_shared = any(file.stat().st_ino in shared for file in path.rglob("*") if file.is_file())
            assert is_shared is link
            for source in paths:
                shutil.rmtree(source)
            with append_to_store(path) as writer:
                assert writer.remove(records[0].key)
                writer.add(again := replace(records[5], payload={"again": 1}))
                writer.add(records[9])
            with open_store(path) as reader:
                _assert_holds(reader, [*records[1:5], *records[6:8], again, records[9]])

    def test_items_of_one_key_are_refused_or_one_stays(self, tmp_path: Path) -> None:
        """An item that is in several stores is refused, unless the user says which one stays."""
        records = make_records(8)
        changed = replace(records[3], payload={"changed": True})
        paths = [self.write(tmp_path / "a", records[:5]), self.write(tmp_path / "b", [changed, *records[5:]])]
        with pytest.raises(StoreWriteError, match=r"1 items are in several stores.*--on-repeat first or last"):
            merge_stores(paths, tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
        for on_repeat, wanted in (("first", records), ("last", [*records[:3], records[4], changed, *records[5:]])):
            done = merge_stores(paths, tmp_path / "merged", on_repeat=on_repeat, overwrite=True)  # type: ignore[arg-type]
            assert done == (2, 8, 1)
            with open_store(tmp_path / "merged") as reader:
                _assert_holds(reader, wanted)

    def test_media_of_one_name_both_stay(self, tmp_path: Path) -> None:
        """Equal media are one file; if different media have one name, records get the second's new name."""
        paths = []
        for n, content in enumerate((b"one", b"two", b"one")):
            with create_store(tmp_path / str(n), self.kind, HEADER) as writer:
                media = {"file": writer.media.add_bytes(content, "train/a.jpg"), "parts": [{"file": "elsewhere"}]}
                writer.add(Record(ItemKey(f"{n}", "train"), {"media": media, "n": n}, make_records(1)[0].embedding))
                writer.media.add_bytes(b"shared", "train/shared.jpg")
            paths.append(tmp_path / str(n))
        merge_stores(paths, tmp_path / "merged")
        with open_store(tmp_path / "merged") as reader:
            found = list(reader.records())
            contents = [media_path(reader.path, r.payload["media"]["file"]).read_bytes() for r in found]
            assert contents == [b"one", b"two", b"one"]
            assert [r.payload["media"]["parts"] for r in found] == [[{"file": "elsewhere"}]] * 3
            assert len(list((reader.path / "media/train").iterdir())) == 2
            assert reader.embedding_count == 3
            reader.check()

    def test_stores_that_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        """Another space, dtype, media type or other categories; nothing is left of the attempt."""
        first = self.write(tmp_path / "first", make_records(2))
        others = {
            "space": (replace(HEADER, space=VectorSpace("sha256:" + "6" * 64, 8, "other")), SpaceMismatchError),
            "dtype": (replace(HEADER, dtype="float16"), StoreWriteError),
            "media type": (replace(HEADER, media_type="video"), StoreWriteError),
            "categories": (replace(HEADER, categories={}), StoreWriteError),
        }
        for what, (header, error) in others.items():
            other = self.write(tmp_path / what, [Record(ItemKey("x", "y"), {}, make_records(1)[0].embedding)], header)
            with pytest.raises(error):
                merge_stores([first, other], tmp_path / "merged")
            assert not (tmp_path / "merged").exists()
        with pytest.raises(StoreWriteError, match="one of the stores to merge"):
            merge_stores([first, first], first)
        with pytest.raises(OptionError, match="at least one"):
            merge_stores([], tmp_path / "merged")

    def test_stores_without_items_or_vectors_merge(self, tmp_path: Path) -> None:
        empty, bare = Header(categories=HEADER.categories), [Record(ItemKey("bare", "train"))]
        paths = [self.write(tmp_path / "0", [], empty), self.write(tmp_path / "1", bare, empty)]
        merge_stores([*paths, self.write(tmp_path / "2", make_records(3))], tmp_path / "merged")
        with open_store(tmp_path / "merged") as reader:
            assert (len(reader), reader.embedding_count, reader.header.space) == (4, 3, SPACE)

    def test_leftovers_of_a_killed_write_are_cleared(self, tmp_path: Path) -> None:
        """Half a segment and temporaries are no part of the store, and the next writer removes them."""
        path = self.write(tmp_path / "store", make_records(3))
        half = store_kind(self.kind).segment_path(path, "segment-000002")
        half.write_bytes(b"half")
        (path / f".{self.kind}.json.1-2.tmp").write_bytes(b"half")
        assert len(open_store(path)) == 3
        with append_to_store(path) as writer:
            writer.add(Record(ItemKey("new", "train")))
        with open_store(path) as reader:
            reader.check()
            assert len(reader) == 4
        assert not list(path.glob(".*.tmp"))

    def test_no_store_is_an_error_that_says_so(self, tmp_path: Path) -> None:
        """Neither an empty nor a missing directory is a store, for readers and writers alike."""
        for path in (tmp_path, tmp_path / "missing"):
            for begin in (open_store, append_to_store):
                with pytest.raises(StoreNotFoundError, match="no embedding store"):
                    begin(path)
        assert not (tmp_path / "missing").exists()
