"""The curation tools as Python functions: plain items, files and arrays in, the decisions of the plugins out."""

from __future__ import annotations

import doctest
import logging
from pathlib import Path

import numpy as np
import pytest
from commands import run_python
from datumaro.components.annotation import Bbox, Caption, Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pictures

import datumaro_clip
from datumaro_clip import Item
from datumaro_clip.curate import item as item_module
from datumaro_clip.errors import InvalidVectorError, OptionError, SpaceMismatchError
from datumaro_clip.functions import curation
from datumaro_clip.host.transform import transform_of
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import unit_rows


def pixels(seed: int) -> np.ndarray:
    tiles = np.random.default_rng(seed).integers(0, 255, (6, 6, 3))
    return np.kron(tiles, np.ones((8, 8, 1))).astype(np.uint8)


@pytest.mark.parametrize("module", [curation, item_module])
def test_the_examples_say_what_happens(module: object):
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted > 0


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clean", {"min_side": 48, "require_caption": True}),
        ("align", {"min_score": 0.1}),
        ("align", {"against": "labels", "keep_top": 0.5, "per_class": True}),
        ("align", {"against": "boxes", "keep_top": 0.5}),
        ("sample", {"count": 4, "strategy": "stratified"}),
        ("sample", {"count": 4}),
        ("classify", {}),
        ("outliers", {"min_similarity": 1.0}),
    ],
)
def test_a_function_decides_what_the_plugin_decides(name: str, options: dict):
    boxes = [((4, 4, 30, 30), "dog")]
    items = [
        Item.of(
            f"i{n}", pixels(n % 20), captions=[f"a cat number {n}"], labels=["cat" if n % 3 else "dog"], boxes=boxes
        )
        for n in range(24)
    ]
    notes = [[Caption(f"a cat number {n}"), Label(0 if n % 3 else 1), Bbox(4, 4, 30, 30, label=1)] for n in range(24)]
    dataset = Dataset.from_iterable(
        [
            DatasetItem(f"i{n}", media=Image.from_numpy(pixels(n % 20)[..., ::-1]), annotations=notes[n])
            for n in range(24)
        ],
        categories=["cat", "dog"],
    )
    theirs = transform_of(f"clip_{name}")(dataset, **options).decisions
    assert getattr(datumaro_clip, name)(items, **options) == theirs


@pytest.mark.usefixtures("encoder")
def test_of_two_copies_the_one_with_the_best_caption_stays_whatever_else_it_says():
    texts = [f"text number {n}" for n in range(9)]
    told = datumaro_clip.align([Item.of(text, pixels(1), captions=[text]) for text in texts], min_score=-1.0)
    bad, *_, middling, _, good = sorted(texts, key={one.key.id: one.score for one in told.decisions}.__getitem__)
    copies = [Item.of("middling", pixels(1), captions=[middling]), Item.of("best", pixels(1), captions=[bad, good])]
    [group] = datumaro_clip.find_duplicates(copies)
    assert group.keeper.id == "best"


@pytest.mark.usefixtures("encoder")
def test_a_sample_adds_to_what_one_has():
    owned = [Item.of(f"own {n}", pixels(n), subset="own") for n in range(4)]
    offered = [Item.of(f"new {n}", pixels(n), subset="new") for n in (0, 1, 7, 2, 3)]
    kept = datumaro_clip.sample(owned + offered, count=1, start_from=["own"]).keys_with()
    assert [key.id for key in kept] == ["own 0", "own 1", "own 2", "own 3", "new 7"]


def test_files_are_compared_without_datumaro(tmp_path: Path):
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        Pictures.fromarray(pixels(seed)).save(tmp_path / name)
    run_python(
        "import sys, datumaro_clip, pathlib\n"
        "paths = sorted(pathlib.Path('.').glob('*.png'))\n"
        "[group] = datumaro_clip.find_duplicates(paths, no_vectors=True)\n"
        "assert (group.keeper.id, group.members[0].key.id) == ('a.png', 'b.png')\n"
        "assert group.members[0].reason == 'exact_duplicate'\n"
        "log = datumaro_clip.clean(paths + ['gone.png'])\n"
        "assert [key.id for key in log.keys_with()] == ['a.png', 'b.png', 'c.png'], log\n"
        "assert [key.id for key in log.keys_with('drop')] == ['gone.png'], log\n"
        "assert 'datumaro' not in sys.modules\n",
        cwd=tmp_path,
    )


def test_vectors_need_no_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datumaro_clip.curate.run_model.load_model", lambda *args, **kwargs: pytest.fail("loaded"))
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2, 16))
    vectors = np.repeat(centres, 30, axis=0) + 0.2 * rng.standard_normal((60, 16))
    labels = ["cat"] * 30 + ["dog"] * 30
    labels[4] = "dog"
    found = datumaro_clip.outliers(vectors, labels=labels, no_texts=True)
    assert [(one.key.id, one.label) for one in found.decisions if one.reason == "wrong_label"] == [("4", "cat")]
    assert len(datumaro_clip.sample(vectors, count=7).keys_with()) == 7
    texts = np.roll(vectors, 1, axis=0)
    assert len(datumaro_clip.align(vectors, texts=texts, keep_top=0.5).keys_with()) == 30


def test_vectors_of_a_named_model_are_classified_by_it():
    encoder = FakeEncoder()
    red, blue = (encoder.embed_texts([f"a photo of a {name} thing."])[0] for name in ("red", "blue"))
    found = datumaro_clip.classify(np.stack([red, blue]), ["red thing", "blue thing"], model=encoder)
    assert [one.label for one in found.decisions] == ["red thing", "blue thing"]
    assert found.space == encoder.space.fingerprint


def test_vectors_of_no_named_model_are_not_compared_with_texts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datumaro_clip.curate.run_model.load_model", lambda *args, **kwargs: FakeEncoder())
    with pytest.raises(SpaceMismatchError, match="--model"):
        datumaro_clip.classify(np.eye(FakeEncoder().space.dimension)[:3], ["a", "b"])


@pytest.mark.parametrize("threshold", [-1.1, 2, float("nan"), "much"])
def test_a_threshold_that_is_no_cosine_is_refused(threshold: object):
    with pytest.raises(OptionError, match="--threshold"):
        datumaro_clip.find_duplicates(np.eye(3), threshold=threshold)


def test_alike_vectors_make_stars_and_no_chains():
    assert datumaro_clip.find_duplicates(np.empty((0, 4))) == []
    angles = np.radians([0, 15, 30, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    [group] = datumaro_clip.find_duplicates(vectors)
    assert group.keeper.id == "0"
    assert [one.key.id for one in group.members] == ["1"]
    assert group.members[0].score == pytest.approx(np.cos(np.radians(15)), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: datumaro_clip.clean("a.jpg"), OptionError),
        (lambda: datumaro_clip.align(np.eye(3), texts=np.eye(2, 3)), InvalidVectorError),
        (lambda: datumaro_clip.outliers(np.eye(3), labels=["a"]), OptionError),
        (lambda: datumaro_clip.find_duplicates(np.eye(3), keep=["order"]), OptionError),
        (lambda: datumaro_clip.find_duplicates([], levels=["exact"], approximate=True), OptionError),
        (lambda: datumaro_clip.sample(np.zeros((2, 2)), count=1), InvalidVectorError),
    ],
)
def test_what_does_not_fit_is_refused(call, error: type[Exception]):
    with pytest.raises(error):
        call()


def test_a_log_says_what_it_holds_and_the_report_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        log = datumaro_clip.clean(
            [Item.of("a", pixels(1)), Item.of("b", np.zeros((40, 40, 3), np.uint8))], report=tmp_path
        )
    assert repr(log) == "DecisionLog(clip_clean: 2 items; drop blank 1, keep 1)"
    assert "clip_clean: 2 items; drop blank 1, keep 1" in caplog.text
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "decisions.jsonl").exists()


def test_a_users_own_vectors_need_not_be_of_unit_length():
    vectors = 7.0 * unit_rows(np.random.default_rng(0).standard_normal((5, 8)))
    assert len(datumaro_clip.sample(vectors, ratio=0.4).keys_with()) == 2


@pytest.mark.parametrize(("data", "got"), [("a.jpg", "the one path 'a.jpg'"), (None, "NoneType"), (5, "int")])
def test_what_is_no_list_of_pictures_is_refused(data: object, got: str):
    """An opened store, for example: it is no list of what it holds."""
    with pytest.raises(OptionError, match=f"wanted a list of items or of paths.* got {got}"):
        datumaro_clip.find_duplicates(data)
