"""Near duplicates: similarity proposes pairs, pixels decide which are copies, groups form around representatives."""

from __future__ import annotations

from datumaro_clip.curate.near.find import NearGroups, find_copies, find_near
from datumaro_clip.curate.near.judge import Difference
from datumaro_clip.curate.near.referee import Pictures
from datumaro_clip.curate.near.rings import Thumbnails

__all__ = ["Difference", "NearGroups", "Pictures", "Thumbnails", "find_copies", "find_near"]
