"""The package's own tests: it joins the suites that hold for everybody's encoders."""

import pytest
from datumaro_clip_toy.encoder import ColourEncoder

from datumaro_clip.testing import EncoderContract


class TestColourEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return ColourEncoder()
