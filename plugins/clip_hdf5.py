"""``clip_hdf5``, for ``Environment.load_plugins("plugins")``."""

from __future__ import annotations

from datumaro_clip.host.registration import require_libraries

require_libraries("openvino", "h5py")

from datumaro_clip.host.formats import ClipHdf5Base, ClipHdf5Exporter, ClipHdf5Importer  # noqa: E402

exports = [ClipHdf5Base, ClipHdf5Exporter, ClipHdf5Importer]
