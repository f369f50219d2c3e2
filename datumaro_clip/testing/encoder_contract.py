"""Tests that every encoder must pass. Subclass the suite in a test module, and provide your encoder::

class TestMyEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return MyEncoder()
"""

from __future__ import annotations

import numpy as np

from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.texts import TokenBatch
from datumaro_clip.vectors import is_unit_rows

_TEXTS = ["a red car", "", "two blue birds on a very long and winding branch", "été 🚗"]


class EncoderContract:
    """Tests that every encoder must pass; a subclass defines the fixture ``encoder``."""

    #: Largest difference between computations of one row in batches of different sizes.
    tolerance = 1e-5

    def test_nothing_gives_no_rows(self, encoder: Encoder) -> None:
        """No pictures and no texts are not an error."""
        wanted = (0, encoder.space.dimension)
        assert encoder.embed_images([]).shape == wanted
        assert encoder.embed_texts([]).shape == wanted

    def test_pictures_become_unit_rows(self, encoder: Encoder) -> None:
        """Shape, dtype or length of the rows is wrong."""
        rows = encoder.submit_pixels(_pictures(encoder, 3)).result()
        assert rows.shape == (3, encoder.space.dimension)
        assert rows.dtype == np.float32
        assert is_unit_rows(rows)

    def test_texts_become_unit_rows(self, encoder: Encoder) -> None:
        """Shape, dtype or length of the rows is wrong."""
        rows = encoder.submit_tokens(_tokens(encoder)).result()
        assert rows.shape == (len(_TEXTS), encoder.space.dimension)
        assert rows.dtype == np.float32
        assert is_unit_rows(rows)

    def test_a_row_does_not_depend_on_its_batch(self, encoder: Encoder) -> None:
        """A picture's vector changes with its neighbours, or rows come back in another order."""
        pixels = _pictures(encoder, 5)
        together = encoder.submit_pixels(pixels).result()
        alone = np.concatenate([encoder.submit_pixels(pixels[i : i + 1]).result() for i in range(5)])
        np.testing.assert_allclose(together, alone, atol=self.tolerance)

    def test_padding_does_not_change_a_text(self, encoder: Encoder) -> None:
        """A text's vector changes with the length of the longest text beside it."""
        alone = np.concatenate([encoder.embed_texts([text]) for text in _TEXTS])
        together = encoder.submit_tokens(_tokens(encoder)).result()
        np.testing.assert_allclose(together, alone, atol=self.tolerance)

    def test_equal_texts_have_equal_rows_in_the_order_given(self, encoder: Encoder) -> None:
        """Sorting by length leaks into the result."""
        texts = [*_TEXTS, *reversed(_TEXTS)]
        rows = encoder.embed_texts(texts)
        np.testing.assert_array_equal(rows, rows[::-1])
        np.testing.assert_allclose(rows[0], encoder.embed_texts([_TEXTS[0]])[0], atol=self.tolerance)

    def test_a_result_is_the_callers_own(self, encoder: Encoder) -> None:
        """A later batch overwrites the rows of an earlier one."""
        pixels = _pictures(encoder, 4)
        futures = [encoder.submit_pixels(pixels) for _ in range(8)]
        first = futures[0].result()
        first[:] = 0
        for future in futures[1:]:
            assert is_unit_rows(future.result())

    def test_the_pixels_are_left_alone(self, encoder: Encoder) -> None:
        """Encoding writes into its input."""
        pixels = _pictures(encoder, 2)
        before = pixels.copy()
        encoder.submit_pixels(pixels).result()
        np.testing.assert_array_equal(pixels, before)

    def test_pictures_and_provenance_agree(self, encoder: Encoder) -> None:
        """The space, or the precision, is not named."""
        assert encoder.space is encoder.provenance.space
        assert encoder.space.fingerprint.startswith("sha256:")
        assert encoder.provenance.precision in ("f32", "f16", "bf16", "int8")
        assert encoder.provenance.device


def _pictures(encoder: Encoder, count: int) -> PixelBatch:
    """Make ``count`` pictures, each of noise around one colour."""
    generator = np.random.default_rng(7)
    height, width = encoder.preprocessing.size
    noise = generator.integers(0, 64, (count, height, width, 3))
    return (noise + generator.integers(0, 192, (count, 1, 1, 3))).astype(np.uint8)


def _tokens(encoder: Encoder) -> TokenBatch:
    """Tokenise all texts as one batch, in order."""
    return encoder.tokenizer.encode(_TEXTS).batch(range(len(_TEXTS)))
