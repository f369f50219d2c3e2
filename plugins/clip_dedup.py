"""``clip_dedup``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino", "cv2")

from datumaro_clip.host.transform import ClipDedup  # noqa: E402

exports = [ClipDedup]
