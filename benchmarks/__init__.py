"""What is measured: ``python -m benchmarks`` runs the parts, some of which also run by themselves."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Data, models and servers beside the project, which cannot be shipped with it.
SHARED = ROOT.parent / "shared"
