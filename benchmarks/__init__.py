"""Speed and quality of datumaro-clip, beside its goals and peers: ``make bench`` or ``python -m benchmarks [PART]``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Data, models and servers beside the project, which cannot be shipped with it.
SHARED = ROOT.parent / "shared"
