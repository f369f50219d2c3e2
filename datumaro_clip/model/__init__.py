"""Models: what they are, where they come from, and how they compute."""

from __future__ import annotations

import sys

# OpenVINO's converter and NNCF tell their makers of each use, unless the module that does so cannot be imported. This
# package sends nothing anywhere, and everything of it that imports either library imports this package first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
