"""Models: their directories, where they come from, and how they compute vectors."""

from __future__ import annotations

import sys

# OpenVINO's converter and NNCF send usage statistics unless this module cannot be imported. datumaro-clip sends nothing
# anywhere: each of its modules that imports either library imports this package first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
