"""Reading back what a report's page holds."""

from __future__ import annotations

import json
import re
from typing import Any


def report_data(page: str) -> dict[str, Any]:
    """What the script of a page works on: ``cards``, ``pictures`` and the rest."""
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data: dict[str, Any] = json.loads(found)
    return data
