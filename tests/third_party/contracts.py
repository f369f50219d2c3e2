"""The package's own tests: it joins the suites that hold for everybody's encoders and stores."""

import pytest
from datumaro_clip_toy.encoder import ColourEncoder

from datumaro_clip.testing import EncoderContract, StoreContract


class TestColourEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return ColourEncoder()


class TestToyStore(StoreContract):
    kind = "toy_store"
