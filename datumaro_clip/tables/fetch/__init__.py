"""Pictures of a table of addresses, asked for politely, safely and once."""

from __future__ import annotations
