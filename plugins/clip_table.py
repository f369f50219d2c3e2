"""``clip_table``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("pyarrow")

from datumaro_clip.host.tables.reading import ClipTableBase, ClipTableImporter  # noqa: E402
from datumaro_clip.host.tables.writing import ClipTableExporter  # noqa: E402

exports = [ClipTableBase, ClipTableExporter, ClipTableImporter]
