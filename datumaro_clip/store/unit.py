"""What a store demands of its vectors."""

from __future__ import annotations

import numpy as np

from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.similarity.kernels import squared_lengths
from datumaro_clip.store.base import Array
from datumaro_clip.store.columns import BlockSink
from datumaro_clip.vectors import UNIT_TOLERANCE


class UnitRows:
    """Lets blocks of finite unit rows, as they are stored, through to a sink.

    Parameters
    ----------
    sink : BlockSink
        Where they end.
    """

    def __init__(self, sink: BlockSink) -> None:
        self._sink = sink

    def write(self, column: str, rows: Array, block_rows: int) -> None:
        """As :meth:`BlockSink.write`; raises :class:`InvalidVectorError` for other rows."""
        if not np.all(np.abs(np.sqrt(squared_lengths(rows)) - 1) <= UNIT_TOLERANCE):
            raise InvalidVectorError("a store keeps finite vectors of unit length; see datumaro_clip.vectors.unit_rows")
        self._sink.write(column, rows, block_rows)

    def wait(self) -> None:
        """As :meth:`BlockSink.wait`."""
        self._sink.wait()
