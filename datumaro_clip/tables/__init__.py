"""Tables of pictures and texts: read row by row, every row accounted for, and written."""

from __future__ import annotations
