"""``clip_normalize``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("yaml")

from datumaro_clip.host.normalize import ClipNormalize  # noqa: E402

exports = [ClipNormalize]
