"""``clip_webdataset``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("pyarrow")

from datumaro_clip.host.tables.reading import ClipWebdatasetBase, ClipWebdatasetImporter  # noqa: E402
from datumaro_clip.host.tables.writing import ClipWebdatasetExporter  # noqa: E402

exports = [ClipWebdatasetBase, ClipWebdatasetExporter, ClipWebdatasetImporter]
