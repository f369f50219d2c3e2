"""What columns mean: as their names tell, as the user says, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.errors import OptionError, TableError
from datumaro_clip.tables.layout import settle_layout
from datumaro_clip.tables.options import SETTINGS_FILE, TableOptions, read_settings, write_settings


def test_columns_of_no_usual_name_are_attributes():
    layout = settle_layout(("a", "b"), TableOptions(), "t.csv")
    assert (layout.image, layout.captions, layout.labels, layout.id, layout.attributes) == (None, (), (), None, None)


def test_usual_names_are_known_in_any_case():
    layout = settle_layout(
        ("Key", "URL", "TEXT", "Title", "category", "File_Name", "split", "w"), TableOptions(), "t.csv"
    )
    assert (layout.id, layout.url, layout.image, layout.subset) == ("Key", "URL", "File_Name", "split")
    assert (layout.captions, layout.labels) == (("TEXT", "Title"), ("category",))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("image", "filepath"), "'image' and 'filepath'; say which is meant with --image-column"),
        (("id", "key"), "'id' and 'key'; say which is meant with --id-column"),
        (("split", "subset"), "'split' and 'subset'; say which is meant with --subset-column"),
        (("url", "image_url"), "'url' and 'image_url'; say which is meant with --url-column"),
    ],
)
def test_two_candidates_are_refused_naming_both(columns: tuple[str, ...], words: str):
    with pytest.raises(TableError, match=words):
        settle_layout(columns, TableOptions(), "t.csv")


def test_the_user_decides_between_candidates_or_for_none():
    options = TableOptions(image_column="filepath", id_column="", caption_column=())
    layout = settle_layout(("image", "filepath", "id", "key", "title"), options, "t.csv")
    assert (layout.image, layout.id, layout.captions) == ("filepath", None, ())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_column": "nope"}, "--image-column: t.csv has no column 'nope'; it has a, b"),
        ({"caption_column": ["a", "nope"]}, "--caption-column: t.csv has no column 'nope'"),
        ({"attributes": ["nope"]}, "--attributes: t.csv has no column 'nope'"),
        ({"dialect": "nope"}, "--dialect must be one of auto, img2dataset"),
        ({"repeats": "nope"}, "--repeats must be one of refuse, number"),
        ({"image_if": "nope"}, "--image-if must be COLUMN=VALUE"),
        ({"image_column": 3}, "image_column must be text, got 3"),
        ({"caption_column": [3]}, "caption_column must be text or a list of texts"),
        ({"nope": "x"}, "has no option nope; it has attributes, caption_column"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(values: dict[str, object], words: str):
    with pytest.raises(OptionError, match=words):
        settle_layout(("a", "b"), TableOptions.from_mapping(values, "the file"), "t.csv")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
OPTIONS = st.builds(
    TableOptions,
    image_column=st.none() | TEXT,
    image_root=st.none() | TEXT,
    caption_column=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    label_separator=st.none() | TEXT,
    attributes=st.none() | st.lists(TEXT, max_size=2).map(tuple),
    repeats=st.sampled_from(["refuse", "number"]),
)


@given(OPTIONS)
def test_settings_that_are_written_are_read_again(tmp_path_factory: pytest.TempPathFactory, options: TableOptions):
    folder = tmp_path_factory.mktemp("settings")
    write_settings(folder, options, "a comment")
    assert read_settings(folder) == options


@pytest.mark.parametrize(
    ("content", "words"), [("a = ", "is no TOML"), ("nope = 1", "has no option nope"), ("dialect = 1", "must be text")]
)
def test_a_settings_file_of_something_else_is_refused(content: str, words: str, tmp_path: Path):
    (tmp_path / SETTINGS_FILE).write_text(content)
    with pytest.raises(OptionError, match=words):
        read_settings(tmp_path)


def test_no_settings_file_says_nothing(tmp_path: Path):
    assert read_settings(tmp_path) == TableOptions()
