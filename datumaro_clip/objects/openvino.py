"""Runs the detector of a directory on any device that OpenVINO has."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datumaro_clip.errors import InferenceError, ModelFormatError
from datumaro_clip.model.devices import check_device
from datumaro_clip.model.openvino import core, read_graph
from datumaro_clip.model.request_queue import Outputs, RequestQueue, gist
from datumaro_clip.objects.detections import Detections
from datumaro_clip.objects.detector import Detector
from datumaro_clip.objects.directory import verify_files
from datumaro_clip.objects.heads import Head, Shape, find_head
from datumaro_clip.vectors import FloatArray

_INPUT = "pixel_values"


class Network:
    """A network with its input fixed to one picture.

    Parameters
    ----------
    path : Path
        ``.onnx``, or ``.xml`` with its ``.bin`` beside it.
    size : tuple of int, optional
        (H, W) of the input, if the network does not fix it.

    Attributes
    ----------
    size : tuple of int
        (H, W) of the input.
    shapes : mapping
        Shapes of the outputs, by name.

    Raises
    ------
    ModelFormatError
        If OpenVINO cannot read it, or it does not take one picture.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None) -> None:
        self.model = read_graph(path)
        self._fix_input(path, size)
        self.shapes: Mapping[str, Shape] = {
            min(port.get_names(), default=f"output {index}"): _dimensions(port.get_partial_shape())
            for index, port in enumerate(self.model.outputs)
        }

    def _fix_input(self, path: Path, size: tuple[int, int] | None) -> None:
        inputs = self.model.inputs
        shape = _dimensions(inputs[0].get_partial_shape()) if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[0] not in (1, None) or shape[1] not in (3, None):
            told = ", ".join(str(port.get_partial_shape()) for port in inputs)
            raise ModelFormatError(f"{path} is no detector: its inputs are {told or 'none'}, wanted one (1, 3, H, W)")
        height, width = (own or asked for own, asked in zip(shape[2:], size or (None, None), strict=True))
        if height is None or width is None:
            raise ModelFormatError(f"the input of {path} has no fixed size; say which it is to have: --size H W")
        if size not in (None, (height, width)):
            raise ModelFormatError(f"the input of {path} is {width}x{height} and cannot be another")
        self.size = (height, width)
        inputs[0].get_tensor().set_names({_INPUT})
        try:
            self.model.reshape([1, 3, height, width])
        except RuntimeError as exc:
            raise ModelFormatError(f"{path} takes no picture of {width}x{height}: {gist(exc)}") from exc


class OpenVINODetector(Detector):
    """A detector's directory on a device.

    Parameters
    ----------
    directory : Path
    device : str
        As :func:`~datumaro_clip.model.devices.check_device` takes it.

    Raises
    ------
    DeviceNotFoundError
        If the device is not here.
    ModelFormatError
        If a file is not what the manifest says, or the network is not of the manifest's kind and labels.
    InferenceError
        If the device cannot run the network.
    """

    def __init__(self, directory: Path, device: str = "CPU") -> None:
        manifest = verify_files(directory)
        self.name, self.fingerprint = manifest.name, manifest.fingerprint
        self.labels, self.input = manifest.labels, manifest.input
        self.device = check_device(core(), device)
        self._network = Network(directory / manifest.network, manifest.input.size)
        self._head = require_head(self._network, manifest.kind, len(manifest.labels), str(directory))
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        try:
            compiled = core().compile_model(self._network.model, self.device, options)
        except RuntimeError as exc:
            raise InferenceError(f"{self.device} cannot run the detector {self.name}: {gist(exc)}") from exc
        self._queue = RequestQueue(compiled, _copied, len(self._network.shapes))

    def submit(self, pixel_values: FloatArray, least: float) -> Future[Detections]:
        """Start looking at a picture; block while all requests are busy."""
        computed = self._queue.submit({_INPUT: pixel_values[None]})
        found: Future[Detections] = Future()
        computed.add_done_callback(partial(self._fulfil, found, least))
        return found

    def _fulfil(self, found: Future[Detections], least: float, computed: Future[list[FloatArray]]) -> None:
        """Read the boxes from the outputs, in the thread that computed them."""
        try:
            found.set_result(self._read(computed.result(), least))
        except BaseException as exc:  # The caller gets any error.
            found.set_exception(exc)

    def _read(self, outputs: list[FloatArray], least: float) -> Detections:
        by_name = dict(zip(self._network.shapes, outputs, strict=True))
        boxes = self._head.read(by_name, self.input.size, least)
        if len(boxes) and not 0 <= boxes.classes.min() <= boxes.classes.max() < len(self.labels):
            raise InferenceError(
                f"the detector {self.name} finds class {boxes.classes.max()}, but has {len(self.labels)} labels; "
                "add it again with the labels that it was trained on"
            )
        return boxes


def require_head(network: Network, kind: str | None, labels: int, where: str) -> Head:
    """Return the network's head; raise ModelFormatError if it is unknown, or has another number of labels."""
    try:
        head, classes = find_head(network.shapes, network.size, kind)
    except ModelFormatError as exc:
        raise ModelFormatError(f"{where}: {exc}") from exc
    if classes not in (0, labels):
        raise ModelFormatError(f"{where} tells {classes} classes apart, but there are {labels} labels")
    return head


def _copied(outputs: Outputs) -> list[FloatArray]:
    """Copy the outputs, which the next picture overwrites."""
    return [np.array(output, np.float32) for output in outputs]


def _dimensions(shape: Any) -> tuple[int | None, ...]:
    """Return a shape, with None for a dimension that is not fixed; empty if their number is not fixed."""
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if dimension.is_dynamic else dimension.get_length() for dimension in shape)
