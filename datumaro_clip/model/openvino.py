"""The encoder on OpenVINO: the two graphs of a model directory, on any of OpenVINO's devices."""

from __future__ import annotations

from concurrent.futures import Future
from functools import cache, cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

from datumaro_clip.errors import InferenceError, MissingDependencyError, ModelFormatError
from datumaro_clip.images import Preprocessing
from datumaro_clip.model.devices import check_device, choose_precision, is_composite
from datumaro_clip.model.directory import IMAGE_ENCODER, PREPROCESSOR, TEXT_ENCODER, TOKENIZER, ModelManifest
from datumaro_clip.model.encoder import Encoder, PixelBatch
from datumaro_clip.model.request_queue import RequestQueue, gist, read_embeddings
from datumaro_clip.texts import TokenBatch, Tokenizer
from datumaro_clip.vectors import FloatArray, Provenance, VectorSpace


@cache
def core() -> Any:
    """Return the process's ``openvino.Core``.

    Raises
    ------
    MissingDependencyError
        If OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as exc:
        raise MissingDependencyError("openvino", None, "running a model") from exc
    return openvino.Core()


def read_graph(path: Path) -> Any:
    """Read an OpenVINO IR or ONNX file as an ``openvino.Model``; raise :class:`ModelFormatError` if that fails."""
    try:
        return core().read_model(path)
    except (RuntimeError, UnicodeDecodeError) as exc:  # Messages that quote a damaged file may not be UTF-8.
        raise ModelFormatError(
            f"OpenVINO cannot read {path}, which may be damaged; copy or export it again: {gist(exc)}"
        ) from exc


class OpenVINOEncoder(Encoder):
    """The two encoders of a model directory, on a device.

    Each graph is read and compiled at its first use, so a run that finds all its vectors in a cache loads none. For
    ``AUTO``, ``MULTI`` and ``HETERO`` the device is known only when the image encoder is compiled, so asking for
    :attr:`provenance` compiles it.

    Parameters
    ----------
    path : Path
        The model directory.
    manifest : ModelManifest
        Its manifest, checked already.
    device : str
        As :func:`~datumaro_clip.model.devices.check_device` takes it.
    precision : str
        As :func:`~datumaro_clip.model.devices.choose_precision` takes it.
    streams : int, optional
        Batches computed at a time; by default OpenVINO's choice for throughput.

    Raises
    ------
    DeviceNotFoundError
        If the device is not here.
    OptionError
        If it does not compute in that precision.
    ModelFormatError
        If the tokenizer or the processor's configuration cannot be read; on first use, if a graph cannot.
    """

    def __init__(
        self,
        path: Path,
        manifest: ModelManifest,
        device: str = "CPU",
        precision: str = "auto",
        *,
        streams: int | None = None,
    ) -> None:
        self.preprocessing = Preprocessing.from_file(path / PREPROCESSOR)
        self.tokenizer = Tokenizer.from_file(path / TOKENIZER, manifest.text)
        self._path = path
        self._space = manifest.vector_space
        self._device = check_device(core(), device)
        self._precision = choose_precision(core(), self._device, manifest.precision, precision)
        self._streams = streams
        self._queues: dict[str, RequestQueue[FloatArray]] = {}
        self._lock = Lock()

    @cached_property
    def provenance(self) -> Provenance:  # type: ignore[override]  # computed at its first use
        """Vector space, precision, and the device that really computes."""
        device = self._queue(IMAGE_ENCODER).device if is_composite(self._device) else self._device
        return Provenance(self._space, self._precision, device)

    @property
    def space(self) -> VectorSpace:
        """The vector space; asking for it compiles nothing."""
        return self._space

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        """Start encoding a batch of pictures; block while all requests are busy."""
        self.require_pixels(pixels)
        return self._queue(IMAGE_ENCODER).submit({"pixels": pixels})

    def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
        """Start encoding a batch of texts; block while all requests are busy."""
        inputs = {"input_ids": tokens.input_ids}
        if self.tokenizer.settings.attention_mask:
            inputs["attention_mask"] = tokens.attention_mask
        return self._queue(TEXT_ENCODER).submit(inputs)

    def _queue(self, graph: str) -> RequestQueue[FloatArray]:
        """Return a graph's queue of requests; the first call compiles the graph, while other threads wait."""
        with self._lock:
            if graph not in self._queues:
                read = partial(read_embeddings, self._space.dimension)
                self._queues[graph] = RequestQueue(self._compile(self._path / graph), read)
            return self._queues[graph]

    def _compile(self, graph: Path) -> Any:
        """Read and compile a graph; raise if the device chose another precision than it was asked for."""
        model = read_graph(graph)
        options: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT"}
        if self._precision != "int8":
            options["INFERENCE_PRECISION_HINT"] = self._precision
        if self._streams is not None:
            options["NUM_STREAMS"] = self._streams
        if self._device.startswith("AUTO"):
            # Otherwise AUTO would silently compute the first batches, and those after a failure, on another device.
            options |= {"ENABLE_STARTUP_FALLBACK": False, "ENABLE_RUNTIME_FALLBACK": False}
        try:
            compiled = core().compile_model(model, self._device, options)
        except RuntimeError as exc:
            raise InferenceError(f"{self._device} cannot run {graph}: {gist(exc)}") from exc
        if "INFERENCE_PRECISION_HINT" in compiled.get_property("SUPPORTED_PROPERTIES"):
            got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            if self._precision not in ("int8", got):
                raise InferenceError(f"{self._device} computes in {got} though asked for {self._precision}")
        return compiled
