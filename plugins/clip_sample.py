"""``clip_sample``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino")

from datumaro_clip.host.transform import ClipSample  # noqa: E402

exports = [ClipSample]
