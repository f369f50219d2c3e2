"""Pictures that differ in one small place all stay, and are told with the place; copies beside them go."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image as MediaImage
from PIL import Image
from reports import report_data

from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions, write_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.near import find_near, referee
from datumaro_clip.curate.thumbnails import square_thumbnail
from datumaro_clip.errors import DecisionError, ImageError
from datumaro_clip.functions.curation import find_duplicates

# The upper left corner of the part that may be missing.
PLACE = (480, 300)


def board(whole: bool = True) -> Image.Image:
    """Parts of many sizes on green; one of ten pixels is missing where the board is not whole."""
    rng = np.random.default_rng(4)
    pixels = np.full((720, 960, 3), (20, 90, 50), np.uint8)
    for _ in range(90):
        y, x, side = rng.integers(10, 660), rng.integers(10, 900), rng.integers(20, 60)
        pixels[y : y + side, x : x + side] = rng.integers(0, 255, 3)
    if whole:
        pixels[PLACE[1] : PLACE[1] + 10, PLACE[0] : PLACE[0] + 10] = (150, 140, 120)
    return Image.fromarray(pixels)


def jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def test_a_part_that_is_missing_keeps_both_pictures_and_a_copy_still_goes(tmp_path: Path):
    items = [
        Item.of("whole", jpeg(board(), 95)),
        Item.of("lacking", jpeg(board(whole=False))),
        Item.of("copy", jpeg(board().resize((480, 360), Image.Resampling.LANCZOS))),
    ]
    groups = find_duplicates(items, no_vectors=True, report=str(tmp_path / "report"))
    assert [[member.key.id for member in group.members] for group in groups] == [["copy"]]
    told = {one.key.id: one for one in read_decisions(tmp_path / "report" / "decisions.jsonl").decisions}
    assert told["copy"].action == "drop"
    assert told["copy"].score < told["copy"].threshold
    assert "at most 2 of 255 grey levels apart" in told["copy"].detail
    look_alike = told["lacking"]
    assert (look_alike.action, look_alike.reason) == ("keep", "look_alike")
    assert look_alike.resembles == items[0].key
    assert look_alike.score > look_alike.threshold
    x, y = PLACE
    assert all(left <= x <= left + width for left, _, width, _ in look_alike.places)
    assert all(top <= y <= top + height for _, top, _, height in look_alike.places)
    cards = report_data((tmp_path / "report" / "report.html").read_text())["cards"]
    assert [len(card["places"]) for card in cards if "places" in card] == [2]


def test_a_look_alike_gives_its_labels_to_nobody():
    """Only what is dropped hands them over."""
    given = [
        DatasetItem(name, media=MediaImage.from_bytes(jpeg(board(whole))), annotations=[Label(label)])
        for name, whole, label in (("whole", True, 0), ("lacking", False, 1))
    ]
    kept = Dataset.from_iterable(given, categories=["sound", "faulty"]).transform(
        "clip_dedup", no_vectors=True, merge_annotations=True
    )
    assert {each.id: [note.label for note in each.annotations] for each in kept} == {"whole": [0], "lacking": [1]}


def test_thumbnails_alone_would_take_both_for_copies():
    """Else the test above would not need the judge."""
    pictures = [board(), board(whole=False)]
    assert find_near([square_thumbnail(each) for each in pictures], range(2)).representatives.tolist() == [0, 0]


def test_a_picture_that_cannot_be_read_a_second_time_stays(caplog: pytest.LogCaptureFixture):
    sources = [jpeg(board(), 95), jpeg(board())]
    thumbnails = [square_thumbnail(Image.open(io.BytesIO(source))) for source in sources]

    def gone(index: int) -> bytes:
        if index:
            raise ImageError("missing", "b.jpg: there is no such file")
        return sources[0]

    assert find_near(thumbnails, range(2), pictures=gone).representatives.tolist() == [0, 1]
    assert "b.jpg: there is no such file" in caplog.text


def test_a_pair_is_judged_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    judged = referee.judge
    monkeypatch.setattr(referee, "judge", lambda *pair: asked.append(1) or judged(*pair))
    sources = [jpeg(board(), quality) for quality in (95, 80, 60)]
    thumbnails = [square_thumbnail(Image.open(io.BytesIO(source))) for source in sources]
    found = find_near(thumbnails, range(3), pictures=sources.__getitem__)
    assert found.representatives.tolist() == [0, 0, 0]
    assert len(asked) == len(found.differences)


@pytest.mark.parametrize("places", [[[1, 2, 3, 4]], [[1, 2, 3, 4], ["a", 2, 3, 4]], 7])
def test_places_that_are_none_are_refused(tmp_path: Path, places: object):
    key = Item.of("a").key
    one = Decision(key, "keep", "look_alike", resembles=key, places=((1, 2, 3, 4), (5, 6, 7, 8)))
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, DecisionLog("clip_dedup", {}, None, (one,)))
    assert read_decisions(path).decisions == (one,)
    path.write_text(path.read_text().replace("[[1, 2, 3, 4], [5, 6, 7, 8]]", str(places).replace("'", '"')))
    with pytest.raises(DecisionError, match="line 2"):
        read_decisions(path)
