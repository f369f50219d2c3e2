"""``clip_integrity``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino")

from datumaro_clip.host.integrity import ClipIntegrityValidator  # noqa: E402

exports = [ClipIntegrityValidator]
