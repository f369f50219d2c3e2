"""A compiled graph that computes several batches at a time, and makes its callers wait when it has enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import BoundedSemaphore, Lock
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InferenceError, InvalidVectorError
from datumaro_clip.vectors import FloatArray, unit_rows

# OpenVINO's Python binding fills its tables of types when a tensor is first passed to it, and two threads that do so
# at once wait for each other for ever: one for the table, holding the interpreter's lock, the other for that lock.
_BINDING = Lock()

Inputs = Mapping[str, npt.NDArray[Any]]
Outputs = Sequence[npt.NDArray[Any]]

_Result = TypeVar("_Result")


class RequestQueue(Generic[_Result]):
    """As many inference requests as the device works best with, each driven by a thread.

    A thread that waits is what turns OpenVINO's failures into exceptions of a future: its own callbacks are not
    called when a request fails.

    Parameters
    ----------
    compiled : openvino.CompiledModel
    read : callable
        Makes the result of a batch of its outputs, which the next batch overwrites: it keeps copies only. What it
        raises, of ValueError and RuntimeError, becomes :class:`InferenceError`.
    outputs : int
        How many the graph has.
    """

    def __init__(self, compiled: Any, read: Callable[[Outputs], _Result], outputs: int = 1) -> None:
        count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._read, self._outputs = read, range(outputs)
        self._devices = [str(device) for device in compiled.get_property("EXECUTION_DEVICES")]
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            self._requests.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="clip-inference")
        # One batch may wait for a thread, so that a request that ends finds its next batch there.
        self._slots = BoundedSemaphore(count + 1)

    @property
    def device(self) -> str:
        """The device, or devices with commas between, that computes."""
        return ",".join(self._devices)

    def submit(self, inputs: Inputs) -> Future[_Result]:
        """Start a batch; block while all requests are busy and one batch waits."""
        self._slots.acquire()
        future = self._threads.submit(self._run, inputs)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def _run(self, inputs: Inputs) -> _Result:
        """Compute one batch, in one of the threads."""
        request = self._requests.get()
        try:
            with _BINDING:
                request.start_async(inputs, share_inputs=True)
            request.wait()
            with _BINDING:
                outputs = [request.get_output_tensor(index).data for index in self._outputs]
            return self._read(outputs)
        except (RuntimeError, TypeError, ValueError) as exc:
            raise InferenceError(f"a batch {_shapes(inputs)} could not be computed: {gist(exc)}") from exc
        finally:
            self._requests.put(request)


def read_embeddings(dimension: int, outputs: Outputs) -> FloatArray:
    """An encoder's only output, (B, D), exactly of unit length, which low precision leaves its rows only nearly."""
    [rows] = outputs
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidVectorError(f"the graph gave shape {rows.shape}, wanted (B, {dimension})")
    return unit_rows(rows)


def _shapes(inputs: Inputs) -> str:
    """The inputs' shapes, for a message."""
    return ", ".join(f"{name} {np.shape(value)}" for name, value in inputs.items())


def gist(exc: Exception) -> str:
    """The line of OpenVINO's message that says something; the ones before it name its source files."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__
