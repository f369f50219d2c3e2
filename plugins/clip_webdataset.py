"""``clip_webdataset``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("pyarrow")

from datumaro_clip.host.tables import (  # noqa: E402
    ClipWebdatasetBase,
    ClipWebdatasetExporter,
    ClipWebdatasetImporter,
)

exports = [ClipWebdatasetBase, ClipWebdatasetExporter, ClipWebdatasetImporter]
