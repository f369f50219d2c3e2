"""Blocks are checked and written by a thread of their own, while the next ones are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError
from datumaro_clip.store.base import Array
from datumaro_clip.store.columns import BlockSink, checksum
from datumaro_clip.vectors import UNIT_TOLERANCE

# Blocks of about 1 MiB that wait at most: enough to keep both threads busy.
_WAITING = 8
# Rows whose squares fit a processor's cache.
_ROWS = 256


class BlockQueue:
    """Takes blocks of columns, in order; keeps their checksums.

    Parameters
    ----------
    sink : BlockSink
        Where they end; used by one thread only.
    """

    def __init__(self, sink: BlockSink) -> None:
        self._sink = sink
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._waiting: deque[Future[None]] = deque()
        self._checksums: dict[str, list[int]] = {}

    def write(self, column: str, block: Array) -> None:
        """Have a block written; it belongs to the queue now. Raises what went wrong with an earlier one."""
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._write, column, block))

    def finish(self) -> Mapping[str, list[int]]:
        """Wait for the last block; the checksums of each column's blocks."""
        while self._waiting:
            self._waiting.popleft().result()
        self._thread.shutdown()
        return self._checksums

    def discard(self) -> None:
        """Wait for the block being written, forget the others."""
        self._thread.shutdown(cancel_futures=True)

    def _write(self, column: str, block: Array) -> None:
        if column.endswith("embeddings"):
            _require_unit_rows(block)
        self._checksums.setdefault(column, []).append(checksum(block))
        self._sink.write(column, block)


def _require_unit_rows(block: Array) -> None:
    for start in range(0, len(block), _ROWS):
        norms = np.sqrt(_squared_norms(block[start : start + _ROWS]))
        if not np.all(np.abs(norms - 1) <= UNIT_TOLERANCE):
            raise InvalidVectorError("a store keeps finite vectors of unit length; see datumaro_clip.vectors.unit_rows")


def _squared_norms(rows: Array) -> npt.NDArray[np.float32]:
    values = np.abs(rows) if rows.dtype == np.float32 else _half_magnitudes(rows)
    return np.asarray(np.einsum("nd,nd->n", values, values), dtype=np.float32)


def _half_magnitudes(rows: Array) -> npt.NDArray[np.float32]:
    """Absolute values of float16 as float32, three times as fast as NumPy converts.

    Moving exponent and fraction to where float32 has them scales by 2**-112; infinity and NaN become numbers above
    65,000, which no unit vector holds.
    """
    bits = (rows.view(np.uint16) & 0x7FFF).astype(np.uint32) << 13
    magnitudes: npt.NDArray[np.float32] = bits.view(np.float32) * np.float32(2.0**112)
    return magnitudes
