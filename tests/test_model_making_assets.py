"""Damaged files beside the weights are refused by name, with the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.making.assets import parse_tokenizer, read_tokenizer


def test_a_directory_without_a_tokenizer_is_told_how_to_save_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"has no tokenizer.json; save it"):
        read_tokenizer(tmp_path)


def test_a_tokenizer_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModelFormatError, match=r"tokenizer.json cannot be read: .*; copy the model's own there"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "null", "{}"])
def test_a_text_that_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(ModelFormatError, match=r"tokenizer.json cannot be used: .*; copy the model's own there"):
        parse_tokenizer(text)
