"""``clip_classify``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino")

from datumaro_clip.host.transform import ClipClassify  # noqa: E402

exports = [ClipClassify]
