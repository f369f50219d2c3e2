"""Near duplicates: similarities propose pairs, pixels decide, representatives gather groups."""

from __future__ import annotations

from datumaro_clip.curate.near.find import NearGroups, find_copies, find_near
from datumaro_clip.curate.near.judge import Difference
from datumaro_clip.curate.near.referee import Pictures
from datumaro_clip.curate.near.thumbnails import Thumbnails

__all__ = ["Difference", "NearGroups", "Pictures", "Thumbnails", "find_copies", "find_near"]
