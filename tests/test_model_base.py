"""The methods that every encoder inherits, and the example in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_python
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.errors import ImageError, InferenceError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.testing import EncoderContract, FakeEncoder

PAGE = Path(__file__).resolve().parents[1] / "docs" / "encoders.md"


def example() -> tuple[dict[str, Any], str, str]:
    """The names that the page's first example defines, its source, and the output shown."""
    source, shown = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, str(PAGE), "exec"), names)
    return names, source, shown


class TestTheExampleOfTheDocumentation(EncoderContract):
    @pytest.fixture
    def encoder(self) -> Encoder:
        return example()[0]["MeanColour"]()


def test_the_example_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = example()[2]
    assert capsys.readouterr().out == shown


def solid(grey: int) -> np.ndarray:
    """A grey picture."""
    return np.full((4, 4, 3), grey, np.uint8)


@given(st.lists(st.integers(0, 255), max_size=40))
def test_pictures_keep_their_order_across_batches(greys: list[int]) -> None:
    encoder = FakeEncoder()
    rows = encoder.embed_images(solid(grey) for grey in greys)
    assert rows.shape == (len(greys), 64)
    for grey, row in zip(greys, rows, strict=True):
        np.testing.assert_array_equal(row, encoder.embed_images([solid(grey)])[0])


@given(st.lists(st.sampled_from(["", "a", "b", "a red car", "ünï"]), max_size=40))
def test_texts_keep_their_order_and_equal_ones_are_computed_once(texts: list[str]) -> None:
    encoder = FakeEncoder()
    rows = encoder.embed_texts(texts)
    assert encoder.texts_computed == len(set(texts))
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(row, FakeEncoder().embed_texts([text])[0])


def test_the_first_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        FakeEncoder().embed_images([solid(1), tmp_path / "gone.jpg", b""])


def test_a_failing_device_is_an_inference_error() -> None:
    with pytest.raises(InferenceError):
        FakeEncoder(fail_on=(7, 7, 7)).embed_images([solid(7)])


def test_no_library_below_us_can_report_its_use():
    code = """
import datumaro_clip.model, openvino, sys
from openvino.tools.ovc import telemetry_utils
print(sys.modules["openvino_telemetry"], telemetry_utils.tm.__name__)
"""
    assert run_python(code).split() == ["None", "openvino.tools.ovc.telemetry_stub"]
