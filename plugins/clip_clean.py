"""``clip_clean``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("cv2")

from datumaro_clip.host.transform import ClipClean  # noqa: E402

exports = [ClipClean]
