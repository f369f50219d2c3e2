"""A bounded queue of inference requests: computes several batches at a time with one compiled graph."""

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

# OpenVINO's Python binding fills its tables of types when the first tensor is passed to it. Two threads that do so at
# once deadlock: one holds the interpreter's lock and waits for the table, the other waits for the interpreter's lock.
_BINDING = Lock()

Inputs = Mapping[str, npt.NDArray[Any]]
Outputs = Sequence[npt.NDArray[Any]]

_Result = TypeVar("_Result")


class RequestQueue(Generic[_Result]):
    """As many inference requests as OpenVINO finds best for the device, each waited for by a thread.

    The threads turn OpenVINO's failures into exceptions of futures: OpenVINO does not call its own callbacks when a
    request fails.

    Parameters
    ----------
    compiled : openvino.CompiledModel
    read : callable
        Makes a batch's result from its outputs. The next batch overwrites the outputs, so the result must hold copies.
        A ValueError, TypeError or RuntimeError that it raises becomes :class:`InferenceError`.
    outputs : int
        Number of outputs of the graph.

    Attributes
    ----------
    device : str
        The device that computes, or several with commas between.
    """

    def __init__(self, compiled: Any, read: Callable[[Outputs], _Result], outputs: int = 1) -> None:
        count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._read, self._outputs = read, range(outputs)
        self.device = ",".join(map(str, compiled.get_property("EXECUTION_DEVICES")))
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(count):
            self._requests.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="clip-inference")
        # One batch more than there are requests, so that a request that ends finds its next batch waiting.
        self._slots = BoundedSemaphore(count + 1)

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
            shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in inputs.items())
            raise InferenceError(f"a batch {shapes} could not be computed: {gist(exc)}") from exc
        finally:
            self._requests.put(request)


def read_embeddings(dimension: int, outputs: Outputs) -> FloatArray:
    """Read an encoder's only output, (B, D), and normalise its rows, whose length low precision has made inexact."""
    [rows] = outputs
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidVectorError(f"the graph gave shape {rows.shape}, wanted (B, {dimension})")
    return unit_rows(rows)


def gist(exc: Exception) -> str:
    """Return the last line of an OpenVINO message, which says what is wrong; the others name source files."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__
