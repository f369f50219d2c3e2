"""Search: the right items, in order, out of a matrix or a store, by text, picture or item."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.cli import make_parser
from datumaro_clip.cli import search as command
from datumaro_clip.errors import InvalidVectorError, OptionError, SpaceMismatchError
from datumaro_clip.search import Hit, SearchIndex, item_vector
from datumaro_clip.similarity import exact_scores
from datumaro_clip.store import Header, Record, create_store, open_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import ItemKey, Provenance, VectorSpace, unit_rows

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
KEYS = [ItemKey(colour, "train" if index % 2 else "val") for index, colour in enumerate(COLOURS)]


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (32, 32), COLOURS[colour])


@pytest.fixture
def index() -> SearchIndex:
    encoder = FakeEncoder()
    return SearchIndex(encoder.embed_images([plain(colour) for colour in COLOURS]), KEYS, encoder.space)


@pytest.fixture(params=["clip_mmap", "clip_hdf5"])
def store_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four coloured pictures, an item without a vector before them, and one id in two subsets."""
    encoder, path = FakeEncoder(), tmp_path / "store"
    with create_store(path, request.param, Header().computed_by(encoder.provenance)) as writer:
        writer.add(Record(ItemKey("unreadable", "train")))
        for key, colour in zip(KEYS, COLOURS, strict=True):
            writer.add(Record(key, embedding=encoder.embed_images([plain(colour)])[0]))
        writer.add(Record(ItemKey("red", "test"), embedding=encoder.embed_images([plain("red")])[0]))
    return path


def ids(hits: list[Hit]) -> list[str]:
    return [hit.key.id for hit in hits]


def parsed(arguments: list[str]) -> argparse.Namespace:
    return make_parser(["search"]).parse_args(["search", *arguments])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    assert command.run(parsed([str(argument) for argument in arguments])) == 0
    return capsys.readouterr().out.splitlines()


def test_nothing_is_found_in_nothing() -> None:
    index = SearchIndex(np.empty((0, 4), np.float32), [], VectorSpace("name:x", 4))
    assert index.search(np.ones((2, 4))) == [[], []]
    assert index.search(np.empty((0, 4))) == []


@pytest.mark.parametrize("scale", [11, 0, 0.9, np.nan])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_that_are_not_of_unit_length_are_refused(scale: float, dtype: type) -> None:
    """Their scores would be no cosines."""
    matrix = unit_rows(np.random.default_rng(0).normal(size=(5, 8))).astype(dtype)
    matrix[3] *= dtype(scale)
    with pytest.raises(InvalidVectorError, match="row 3 of the matrix has length"):
        SearchIndex(matrix, [ItemKey(str(i), "a") for i in range(5)], VectorSpace("name:x", 8))


def test_texts_and_pictures_find_their_colours(index: SearchIndex) -> None:
    encoder = FakeEncoder()
    texts = encoder.embed_texts(["a red car", "something blue"])
    assert [ids(hits)[0] for hits in index.search(texts)] == ["red", "blue"]
    assert ids(index.search(encoder.embed_images([plain("green")]), k=1)[0]) == ["green"]


def test_hits_are_ranked_scored_and_limited(index: SearchIndex) -> None:
    query = index.matrix[1]
    hits = index.search(3 * query[None], k=3)[0]
    assert [hit.rank for hit in hits] == [0, 1, 2]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].score == exact_scores(unit_rows(3 * query[None]), query[None])[0]
    assert len(index.search(query[None], k=10, min_score=hits[1].score)[0]) == 2


class Counted:
    """Rows that are read when they are asked for; remembers the most that were asked for at once."""

    ndim = 2

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.dtype, self.most = rows, rows.shape, rows.dtype, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | np.ndarray, /) -> np.ndarray:
        self.most = max(self.most, len(self.rows[which]))
        return self.rows[which]


def test_a_filter_does_not_read_all_that_it_lets_through() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(20_000, 8)))
    matrix, space = Counted(rows), VectorSpace("name:mine", 8)
    keys = [ItemKey(str(row), "train") for row in range(len(rows))]
    where = np.arange(len(rows)) % 3 > 0
    hits = SearchIndex(matrix, keys, space).search(rows[:4], 3, where=where)
    wanted = SearchIndex(rows[where], [key for key, kept in zip(keys, where, strict=True) if kept], space)
    assert hits == wanted.search(rows[:4], 3)
    assert matrix.most < len(rows) / 4


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        (lambda key: False, set()),
        (lambda key: key.subset == "train", {"green", "white"}),
        (np.array([True, False, True, False]), {"red", "blue"}),
    ],
    ids=["none", "keys", "mask"],
)
def test_filters_leave_out_the_others(index: SearchIndex, where: object, wanted: set[str]) -> None:
    hits = index.search(index.matrix[:1], where=where)[0]  # type: ignore[arg-type]
    assert set(ids(hits)) == wanted


def test_what_does_not_fit_is_refused(index: SearchIndex) -> None:
    with pytest.raises(InvalidVectorError, match="mask"):
        index.search(index.matrix[:1], where=np.ones(3, np.bool_))
    with pytest.raises(InvalidVectorError, match="keys"):
        SearchIndex(index.matrix, KEYS[:2], index.space)
    with pytest.raises(InvalidVectorError, match="wanted a matrix"):
        SearchIndex(index.matrix, KEYS, VectorSpace("name:x", 3))


def test_a_store_is_searched_by_its_rows_keys(store_path: Path) -> None:
    """Rows of the matrix are not rows of the store where an item has no vector."""
    with open_store(store_path) as store:
        index = SearchIndex.from_store(store)
        assert len(index) == 5
        for key in KEYS:
            assert index.search(item_vector(store, key)[None], k=1)[0][0].key.id == key.id
        with pytest.raises(OptionError, match="no vector"):
            item_vector(store, ItemKey("unreadable", "train"))
        with pytest.raises(OptionError, match="no item"):
            item_vector(store, ItemKey("red", "nowhere"))


def test_a_store_without_vectors_says_how_to_get_them(tmp_path: Path) -> None:
    with create_store(tmp_path / "s", "clip_mmap", Header()) as writer:
        writer.add(Record(ItemKey("a", "train")))
    with open_store(tmp_path / "s") as store, pytest.raises(OptionError, match="embed the dataset first"):
        SearchIndex.from_store(store)


def test_the_command_finds_by_item(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, store_path, "--item", "red@val", "-k", 2)
    assert lines[0] == "1.0000  red  test"
    assert len(lines) == 2
    told = [json.loads(line) for line in run(capsys, store_path, "--item", "red@val", "-k", 2, "--json")]
    assert [(hit["rank"], hit["subset"]) for hit in told] == [(0, "test"), (1, "train")]
    with pytest.raises(OptionError, match="red@test"):
        run(capsys, store_path, "--item", "red")
    with pytest.raises(OptionError, match="0 items"):
        run(capsys, store_path, "--item", "purple")


def test_the_command_looks_in_the_subsets_that_it_is_given(
    store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(capsys, store_path, "--item", "red@val", "--subset", "train", "-k", 5)
    assert {line.split()[-1] for line in lines} == {"train"}
    with pytest.raises(OptionError, match="has no subset nowhere; it has train, val, test"):
        run(capsys, store_path, "--item", "red@val", "--subset", "nowhere")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("store {text} -k 3", "text"),
        ("store -k 3 {text}", "text"),
        ("-k 3 store {text}", "text"),
        ("store --subset train --subset val -k 3 {text}", "text"),
        ("store -k 3 {text} --subset train --subset val", "text"),
        ("store -k 3 --image file", "image"),
        ("--image file store -k 3", "image"),
        ("-k 3 --item red@val store", "item"),
    ],
)
def test_the_query_and_the_options_come_in_any_order(line: str, wanted: str) -> None:
    """An optional positional is taken for left out as soon as an option stands before it."""
    args = parsed([word.format(text="a red car") for word in line.split()])
    assert (str(args.store), args.k) == ("store", 3)
    given = {"text": args.text, "image": args.image and str(args.image), "item": args.item}
    query = {"text": "a red car", "image": "file", "item": "red@val"}[wanted]
    assert given == {"text": None, "image": None, "item": None, wanted: query}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("store", "one of the arguments text --image --item is required"),
        ("store text --image file", "argument --image: not allowed with argument text"),
        ("store --item red text", "argument text: not allowed with argument --item"),
        ("store --item red --image file", "argument --image: not allowed with argument --item"),
    ],
)
def test_one_query_is_wanted(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed(line.split())
    assert words in capsys.readouterr().err


def test_the_command_asks_for_the_stores_own_model(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def load(model: object, **options: object) -> FakeEncoder:
        asked.append(model)
        return FakeEncoder(seed=9) if model == "other" else FakeEncoder()

    monkeypatch.setattr("datumaro_clip.search.load_model", load)
    plain("green").save(tmp_path / "green.png")
    assert run(capsys, store_path, "a red car", "-k", 1)[0].split()[1] == "red"
    assert run(capsys, store_path, "--image", tmp_path / "green.png", "--min-score", 0.99) == ["1.0000  green  train"]
    assert asked == [FakeEncoder().space] * 2
    with pytest.raises(SpaceMismatchError):
        run(capsys, store_path, "red", "--model", "other")


def test_vectors_from_elsewhere_are_searched_with_the_model_that_the_user_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = FakeEncoder()
    elsewhere = Provenance(VectorSpace("name:mine", encoder.space.dimension), "unknown", "unknown")
    with create_store(tmp_path / "s", "clip_mmap", Header().computed_by(elsewhere)) as writer:
        writer.add(Record(ItemKey("red", "train"), embedding=encoder.embed_images([plain("red")])[0]))
    monkeypatch.setattr("datumaro_clip.search.load_model", lambda model, **options: encoder)
    assert run(capsys, tmp_path / "s", "red", "--model", "x")[0].endswith("red  train")
    with pytest.raises(SpaceMismatchError):
        run(capsys, tmp_path / "s", "red")
