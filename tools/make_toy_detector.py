"""Make detectors without weights: networks that find filled red, green and blue rectangles, one of each colour.

    python tools/make_toy_detector.py OUT.onnx --kind yolox

They find the one box of each colour by arithmetic, and give it in the form of any head, so that every way from a
picture to a box can be tested with an answer that is known: a wrong order of colours takes red for blue, a wrong
placement moves the boxes. The score is the share of the box that is of the colour.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save

LABELS = ("red", "green", "blue")
SIDE = 128
STRIDES = (8, 16, 32)
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)
#: Of each kind of head: what its pixels are divided by, and which channel is red, green and blue.
INPUTS = {"yolox": (255.0, (2, 1, 0)), "yolox-decoded": (255.0, (2, 1, 0))}
OTHERS = (1.0, (0, 1, 2))


class Graph:
    """Nodes and constants of a network that is being written."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: list = []

    def __call__(self, kind: str, *inputs: str | float | Sequence, output: str = "", **attributes: object) -> str:
        """Add a node; numbers and lists among its inputs become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, value: object) -> str:
        """Add a constant: whole numbers as int64, others as float32."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def make_toy_detector(kind: str) -> ModelProto:
    """The network, for pictures of 128×128 pixels, with a head of that kind (see ``datumaro_clip.objects.heads``)."""
    graph = Graph()
    boxes, scores = _found(graph, *INPUTS.get(kind, OTHERS))
    outputs = HEADS[kind](graph, boxes, scores)
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    made = helper.make_graph(graph.nodes, f"toy-{kind}", [image], results, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model


def _found(graph: Graph, full: float, channels: tuple[int, int, int]) -> tuple[str, str]:
    """x1, y1, x2, y2 in pixels, (1, 3, 4), of red, green and blue; and their scores, (1, 3, 1)."""
    shares = graph("Gather", graph("Div", "images", full), list(channels), axis=1)
    others = [graph("Gather", shares, list(pair), axis=1) for pair in ((1, 0, 0), (2, 2, 1))]
    strong = graph("Greater", shares, 0.6)
    weak = graph("And", *(graph("Less", other, 0.4) for other in others))
    mask = graph("Cast", graph("And", strong, weak), to=TensorProto.FLOAT)
    sides = [_extent(graph, graph("ReduceMax", mask, axes=[axis], keepdims=0)) for axis in (2, 3)]
    (x1, x2), (y1, y2) = sides
    boxes = graph("Concat", x1, y1, x2, y2, axis=2)
    area = graph("Mul", graph("Sub", x2, x1), graph("Sub", y2, y1))
    filled = graph("Unsqueeze", graph("ReduceSum", mask, [2, 3], keepdims=0), [2])
    return boxes, graph("Clip", graph("Div", filled, graph("Max", area, 1.0)), 0.0, 1.0)


def _extent(graph: Graph, line: str) -> tuple[str, str]:
    """Add nodes for where the ones of a line (1, 3, 128) begin and end, (1, 3, 1) each; 0 and 0 if there are none."""
    places = np.arange(SIDE)
    end = graph("ReduceMax", graph("Mul", line, (places + 1.0).tolist()), axes=[2], keepdims=1)
    before = graph("ReduceMax", graph("Mul", line, (SIDE - places * 1.0).tolist()), axes=[2], keepdims=1)
    return graph("Min", graph("Sub", float(SIDE), before), end), end


def _centres(graph: Graph, boxes: str) -> tuple[str, str]:
    """cx, cy and w, h, (1, 3, 2) each."""
    low = graph("Slice", boxes, [0], [2], [2])
    high = graph("Slice", boxes, [2], [4], [2])
    return graph("Mul", graph("Add", low, high), 0.5), graph("Sub", high, low)


def _rows(graph: Graph, columns: list[str], count: int, output: str = "output") -> dict[str, list[int]]:
    """Add nodes for three rows with content, and empty ones up to ``count`` rows."""
    rows = graph("Concat", *columns, axis=2)
    width = 5 + len(LABELS)
    graph("Concat", rows, np.zeros((1, count - 3, width)).tolist(), output=output, axis=1)
    return {output: [1, count, width]}


def _classes(graph: Graph, scores: str) -> str:
    """The score of each box at its own class, (1, 3, 3)."""
    return graph("Mul", scores, [np.eye(3).tolist()])


def _yolox(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    centres, sides = _centres(graph, boxes)
    stride = float(STRIDES[0])
    cells = [[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]]
    offsets = graph("Sub", graph("Div", centres, stride), cells)
    logarithms = graph("Log", graph("Div", graph("Max", sides, 0.01), stride))
    return _rows(graph, [offsets, logarithms, scores, _ones(graph)], CELLS)


def _ones(graph: Graph) -> str:
    return graph.constant([np.eye(3).tolist()])


def _decoded(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    return _rows(graph, [*_centres(graph, boxes), scores, _ones(graph)], CELLS)


def _yolov5(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    return _rows(graph, [*_centres(graph, boxes), scores, _ones(graph)], 3 * CELLS)


def _yolov8(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    rows = graph("Concat", *_centres(graph, boxes), _classes(graph, scores), axis=2)
    full = graph("Concat", rows, np.zeros((1, CELLS - 3, 7)).tolist(), axis=1)
    graph("Transpose", full, output="output", perm=[0, 2, 1])
    return {"output": [1, 7, CELLS]}


def _end2end(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    rows = graph("Concat", boxes, scores, graph.constant([[[0.0], [1.0], [2.0]]]), axis=2)
    graph("Concat", rows, np.zeros((1, 297, 6)).tolist(), output="output", axis=1)
    return {"output": [1, 300, 6]}


def _rtdetr(graph: Graph, boxes: str, scores: str) -> dict[str, list[int]]:
    graph("Div", graph("Concat", *_centres(graph, boxes), axis=2), float(SIDE), output="pred_boxes")
    shares = graph("Clip", _classes(graph, scores), 1e-6, 1 - 1e-6)
    graph("Log", graph("Div", shares, graph("Sub", 1.0, shares)), output="logits")
    return {"logits": [1, 3, 3], "pred_boxes": [1, 3, 4]}


HEADS = {
    "yolox": _yolox,
    "yolox-decoded": _decoded,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "end2end": _end2end,
    "rtdetr": _rtdetr,
}


def write_toy_detector(path: Path, kind: str) -> Path:
    """Write the network to ``path``, and its labels beside it as ``.txt``."""
    save(make_toy_detector(kind), path)
    path.with_suffix(".txt").write_text("\n".join(LABELS) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="the .onnx to write; its labels go beside it, as .txt")
    parser.add_argument("--kind", choices=HEADS, default="yolox", help="default: %(default)s")
    args = parser.parse_args()
    write_toy_detector(args.out, args.kind)


if __name__ == "__main__":
    main()
