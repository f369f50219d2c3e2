"""Tools to test code that builds on datumaro-clip: an encoder that needs no model, and contract suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datumaro_clip.testing.encoder_contract import EncoderContract
from datumaro_clip.testing.fake_encoder import FakeEncoder

if TYPE_CHECKING:
    from datumaro_clip.testing.stores import StoreContract

__all__ = ["EncoderContract", "FakeEncoder", "StoreContract"]


def __getattr__(name: str) -> object:
    """Import the suite of stores at its first use, because it needs pytest, and the fake encoder does not."""
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from datumaro_clip.testing.stores import StoreContract

    return StoreContract
