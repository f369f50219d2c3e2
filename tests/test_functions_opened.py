"""A store in Python: what it says of itself, its vectors, and what in it resembles a query."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures

import datumaro_clip
from datumaro_clip import Decision, Hits, Item, ItemKey, VectorSpace
from datumaro_clip.curate import decisions as decisions_module
from datumaro_clip.errors import InvalidVectorError, MissingDependencyError, OptionError
from datumaro_clip.system import terminal
from datumaro_clip.testing import FakeEncoder

ODD = ["plain", "a/b", "<img src=x>", "with space ", "user@home", "line\nbreak", "caf\udce9", "東京", "{}", "#1"]


@pytest.fixture
def store(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten pictures under names that contain anything, saved in a store, in two subsets."""
    monkeypatch.setattr("datumaro_clip.search.load_model", lambda *args, **kwargs: encoder)
    rng = np.random.default_rng(0)
    pictures = [Image.from_numpy(rng.integers(0, 255, (20, 30, 3), np.uint8)) for _ in ODD]
    parts = zip(ODD, ["train", "val"] * 5, pictures, strict=True)
    items = [DatasetItem(name, subset=subset, media=picture) for name, subset, picture in parts]
    Dataset.from_iterable(items).export(str(tmp_path / "store"), "clip_mmap", save_media=True)
    return tmp_path / "store"


def test_it_says_what_it_holds(store: Path):
    with datumaro_clip.open_store(store) as opened:
        told = repr(opened)
    for said in ("Store(", "10 items (train 5, val 5)", "10 vectors", "64 dimensions", "float32", "kB)"):
        assert said in told


def test_vectors_are_those_that_are_stored_and_find_themselves(store: Path):
    with datumaro_clip.open_store(store) as opened:
        keys, vectors = opened.vectors()
        assert sorted(key.id for key in keys) == sorted(ODD)
        assert (vectors.shape, vectors.dtype) == ((10, 64), np.float32)
        for key, vector in zip(keys, vectors, strict=True):
            [hit] = opened.search(vector, k=1)
            assert (hit.key, round(hit.score, 5)) == (key, 1.0)


def test_a_text_a_picture_and_an_item_are_asked_for(store: Path, encoder: FakeEncoder, tmp_path: Path):
    with datumaro_clip.open_store(store) as opened:
        [wanted] = encoder.embed_texts(["a dog"])
        assert opened.search("a dog", k=5) == opened.search(wanted, k=5)
        key = opened.vectors()[0][3]
        own = opened.search(key, k=20)
        assert len(own) == 9
        assert key not in [hit.key for hit in own]
        Pictures.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "red.png")
        assert opened.search(tmp_path / "red.png") == opened.search(encoder.embed_images([tmp_path / "red.png"])[0])
        for query in ("a dog", wanted, np.zeros((9, 9, 3), np.uint8)):
            assert [hit.key.subset for hit in opened.search(query, subset="val")] == ["val"] * 5
        assert opened.search("a dog", min_score=1.0) == []


def test_hits_and_stores_are_shown_with_pictures_and_as_a_table(store: Path):
    with datumaro_clip.open_store(store) as opened:
        hits = opened.search(opened.vectors()[1][0], k=3)
        assert repr(hits).splitlines()[0] == "3 hits:"
        assert hits._repr_html_().count("data:image/webp") == 3
        assert opened._repr_html_().count("data:image/webp") == 10
        assert "<img src=x>" not in opened._repr_html_()
        assert r"caf\udce9" in opened._repr_html_()
        table = hits.to_pandas()
        assert list(table.columns) == ["rank", "id", "subset", "score"]
        assert table["id"].tolist() == [hit.key.id for hit in hits]
        assert list(Hits().to_pandas().columns) == ["rank", "id", "subset", "score"]


@pytest.mark.parametrize(
    ("query", "options", "error"),
    [
        (np.zeros(7, np.float32) + 1, {}, InvalidVectorError),
        (ItemKey("gone", "train"), {}, OptionError),
        ("a dog", {"subset": "test"}, OptionError),
    ],
)
def test_what_cannot_be_asked_is_refused(store: Path, query: object, options: dict, error: type[Exception]):
    with datumaro_clip.open_store(store) as opened, pytest.raises(error):
        opened.search(query, **options)


@pytest.mark.usefixtures("encoder")
def test_decisions_and_groups_are_shown_with_pictures_and_as_tables(tmp_path: Path):
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for n, path in enumerate(paths):
        tiles = np.random.default_rng(n // 2).integers(0, 255, (6, 6, 3))
        Pictures.fromarray(np.kron(tiles, np.ones((8, 8, 1))).astype(np.uint8)).save(path)
    groups = datumaro_clip.find_duplicates(paths, no_vectors=True)
    assert len(groups) == 2
    assert "2 groups of duplicates, 2 copies:" in repr(groups)
    assert repr(groups[0]) == f"DuplicateGroup('{paths[0]}@default' stays; exact_duplicate 1)"
    assert groups._repr_html_().count("data:image/webp") == 4
    assert groups[1]._repr_html_().count("data:image/webp") == 2
    assert groups.to_pandas()["representative"].tolist() == [f"{paths[0]}@default", f"{paths[2]}@default"]
    log = datumaro_clip.last_decisions()
    assert log is not None
    assert log.to_pandas()["action"].value_counts().to_dict() == {"keep": 2, "drop": 2}
    assert log._repr_html_().count("data:image/webp") == 2
    assert datumaro_clip.clean([]).to_pandas().empty


@pytest.mark.usefixtures("encoder")
def test_the_decisions_of_a_transform_are_at_hand():
    dataset = Dataset.from_iterable([DatasetItem("a", media=Image.from_numpy(np.zeros((40, 40, 3), np.uint8)))])
    dataset.transform("clip_clean")
    assert len(dataset) == 0
    assert datumaro_clip.last_decisions().to_pandas()["reason"].tolist() == ["blank"]


def test_without_pandas_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        datumaro_clip.clean([]).to_pandas()


def test_every_public_object_says_what_it_is(encoder: FakeEncoder):
    key = ItemKey("a", "train")
    item = Item.of("a", np.zeros((2, 2, 3), np.uint8), captions=["x", "y"], labels=["cat"])
    told = {
        repr(item): "Item('a@default', a picture, labels 1, captions 2)",
        repr(Item.of("b")): "Item('b@default', no picture)",
        repr(Decision(key, "keep")): "Decision('a@train': keep)",
        repr(Decision(key, "drop", "near_duplicate", 2.0, representative=ItemKey("b", "val"))): (
            "Decision('a@train': drop near_duplicate, score 2, for 'b@val')"
        ),
        str(VectorSpace("name:own", 4, "own")): "own (name:own, 4 dimensions)",
        repr(datumaro_clip.find_duplicates(np.empty((0, 4)))): "0 groups of duplicates, 0 copies",
        repr(Hits()): "0 hits",
    }
    assert list(told) == list(told.values())
    assert repr(encoder).startswith("FakeEncoder(")


def test_a_notebook_is_told_what_a_log_would_say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    class Shell:
        kernel = object()

    class IPython:
        get_ipython = staticmethod(Shell)

    assert not terminal.is_notebook()
    datumaro_clip.clean([])
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert terminal.is_notebook()
    datumaro_clip.clean([])
    assert capsys.readouterr().out == "clip_clean: 0 items; nothing to decide\n"
    datumaro_clip.embed([], FakeEncoder())
    assert capsys.readouterr().out == "embedded 0, failed 0; model fake/colours, device CPU, precision f32\n"


def test_dir_shows_the_functions_and_all_are_there():
    shown = dir(datumaro_clip)
    for name in ("align", "classify", "clean", "embed", "find_duplicates", "open_store", "outliers", "sample"):
        assert name in shown
    assert all(getattr(datumaro_clip, name) is not None for name in shown)


SCRIPT = """
from pathlib import Path

import numpy as np

import datumaro_clip
from datumaro_clip import DecisionLog, DuplicateGroups, Hits, ItemKey

vectors, errors = datumaro_clip.embed([Path("a.jpg")], model="tiny")
reasons: list[str] = [error.reason for error in errors.values()]
groups: DuplicateGroups = datumaro_clip.find_duplicates(vectors, threshold=0.9)
keepers: list[ItemKey] = [group.keeper for group in groups]
log: DecisionLog = datumaro_clip.sample(vectors, count=3)
kept: list[str] = [key.id for key in log.keys_with()]
with datumaro_clip.open_store("store") as store:
    keys, matrix = store.vectors()
    hits: Hits = store.search("a dog", k=5)
    best: float = hits[0].score
    norms = np.linalg.norm(matrix, axis=1)
    more: Hits = store.search(matrix[0], subset="val")
wrong: int = hits[0].score  # the one mistake
"""


def test_a_users_script_passes_the_strictest_types_but_for_its_mistake(tmp_path: Path):
    if find_spec("mypy") is None:
        pytest.skip("needs mypy, of the extra 'dev'")
    (tmp_path / "script.py").write_text(SCRIPT)
    mistake = 1 + next(n for n, line in enumerate(SCRIPT.splitlines()) if "mistake" in line)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "script.py"],
        cwd=tmp_path, text=True, capture_output=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        f"script.py:{mistake}: error: Incompatible types in assignment "
        '(expression has type "float", variable has type "int")  [assignment]'
    ]


def test_modules_keep_no_picture_in_the_file(tmp_path: Path):
    """What gives pictures is for notebooks: it neither makes logs differ nor is written."""
    picture = {ItemKey("a", "s"): lambda: b""}
    one = decisions_module.DecisionLog("x", {}, None, (), (), (), picture)
    decisions_module.write_decisions(tmp_path / "d.jsonl", one)
    assert decisions_module.read_decisions(tmp_path / "d.jsonl") == one
