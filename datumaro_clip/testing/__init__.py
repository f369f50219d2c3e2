"""For tests of what is built on datumaro-clip: an encoder that needs no model, and contract suites."""

from __future__ import annotations

from datumaro_clip.testing.encoder_contract import EncoderContract
from datumaro_clip.testing.fake_encoder import FakeEncoder

__all__ = ["EncoderContract", "FakeEncoder"]
