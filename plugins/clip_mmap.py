"""``clip_mmap``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino")

from datumaro_clip.host.formats import ClipMmapBase, ClipMmapExporter, ClipMmapImporter  # noqa: E402

exports = [ClipMmapBase, ClipMmapExporter, ClipMmapImporter]
