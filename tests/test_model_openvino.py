"""The OpenVINO encoder, on real graphs: tiny ones built here, and an exported CLIP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datumaro_clip.embedding import embed
from datumaro_clip.errors import InferenceError, MissingDependencyError, ModelFormatError
from datumaro_clip.model.devices import list_devices
from datumaro_clip.model.openvino import OpenVINOEncoder, core
from datumaro_clip.model.request_queue import RequestQueue, read_embeddings
from datumaro_clip.testing import EncoderContract, FakeEncoder
from datumaro_clip.texts import TextSettings, TokenBatch
from datumaro_clip.vectors import Provenance, VectorSpace, is_unit_rows

SIDE, DIMENSION, VOCABULARY = 8, 16, 258
READ = partial(read_embeddings, DIMENSION)


@dataclass(frozen=True)
class TinyManifest:
    """What the encoder asks of a manifest."""

    vector_space: VectorSpace = VectorSpace("sha256:" + "5" * 64, DIMENSION, "tiny")  # noqa: RUF009  # frozen
    precision: str = "f32"
    text: TextSettings = field(default_factory=lambda: TextSettings(77, "longest", 0))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of two linear graphs, which divide by zero for a black picture."""
    path = tmp_path_factory.mktemp("tiny")
    write_image_graph(path / "image_encoder.xml")
    write_text_graph(path / "text_encoder.xml")
    FakeEncoder()._bytes.save(str(path / "tokenizer.json"))
    config = {"size": {"height": SIDE, "width": SIDE}, "do_normalize": False, "do_rescale": False, "resample": 2}
    (path / "preprocessor_config.json").write_text(json.dumps(config))
    return path


def write_image_graph(path: Path) -> None:
    """pixels (B, 8, 8, 3) uint8 → embeddings (B, 16), a random projection."""
    import openvino as ov
    from openvino import opset13 as ops

    pixels = ops.parameter([-1, SIDE, SIDE, 3], np.uint8, name="pixels")
    pixels.output(0).get_tensor().set_names({"pixels"})
    flat = ops.reshape(ops.convert(pixels, "f32"), ops.constant([0, SIDE * SIDE * 3]), special_zero=True)
    ov.save_model(ov.Model([ops.result(unit(flat, SIDE * SIDE * 3))], [pixels], "image"), path, compress_to_fp16=False)


def write_text_graph(path: Path) -> None:
    """input_ids, attention_mask (B, L) int64 → embeddings (B, 16), the projected sum of random token vectors."""
    import openvino as ov
    from openvino import opset13 as ops

    ids, mask = (ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    for parameter in (ids, mask):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    table = ops.constant(np.random.default_rng(1).standard_normal((VOCABULARY, 12)).astype(np.float32))
    tokens = ops.gather(table, ids, ops.constant(0))
    kept = ops.multiply(tokens, ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(2)))
    summed = ops.reduce_sum(kept, ops.constant([1]))
    ov.save_model(ov.Model([ops.result(unit(summed, 12))], [ids, mask], "text"), path, compress_to_fp16=False)


def unit(rows: Any, width: int) -> Any:
    """Project to DIMENSION and divide by the length, with nothing to catch a length of zero."""
    from openvino import opset13 as ops

    weights = np.random.default_rng(0).standard_normal((width, DIMENSION)).astype(np.float32)
    projected = ops.matmul(rows, ops.constant(weights), False, False)
    length = ops.sqrt(ops.reduce_sum(ops.multiply(projected, projected), ops.constant([1]), keep_dims=True))
    return ops.divide(projected, length)


@pytest.fixture(scope="module")
def make(directory: Path) -> Callable[..., OpenVINOEncoder]:
    """A new encoder over the tiny model."""

    def build(path: Path = directory, **options: Any) -> OpenVINOEncoder:
        return OpenVINOEncoder(path, options.pop("manifest", TinyManifest()), **({"precision": "f32"} | options))

    return build


@pytest.fixture(scope="module")
def tiny(make: Callable[..., OpenVINOEncoder]) -> OpenVINOEncoder:
    return make()


def noise(count: int, seed: int = 0) -> np.ndarray:
    """A batch of pictures."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


class TestContract(EncoderContract):
    @pytest.fixture(params=[None, 1])
    def encoder(self, request: pytest.FixtureRequest, make: Callable[..., OpenVINOEncoder]) -> OpenVINOEncoder:
        return make(streams=request.param)


def test_vectors_are_those_of_the_graph(tiny: OpenVINOEncoder) -> None:
    pixels = noise(5)
    weights = np.random.default_rng(0).standard_normal((SIDE * SIDE * 3, DIMENSION)).astype(np.float32)
    rows = pixels.reshape(5, -1).astype(np.float32) @ weights
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(tiny.submit_pixels(pixels).result(), expected, atol=1e-5)


def test_many_batches_at_a_time_come_back_each_to_its_own_future(tiny: OpenVINOEncoder) -> None:
    batches = [noise(1 + seed % 5, seed) for seed in range(60)]
    together = [future.result() for future in [tiny.submit_pixels(batch) for batch in batches]]
    for batch, rows in zip(batches, together, strict=True):
        np.testing.assert_allclose(rows, tiny.submit_pixels(batch).result(), atol=1e-6)


# Failures


def test_a_vector_that_is_not_finite_is_an_error_and_the_next_batch_is_not(tiny: OpenVINOEncoder) -> None:
    """NaN reaches a vector, or one bad batch takes the encoder down."""
    bad = noise(3)
    bad[1] = 0
    with pytest.raises(InferenceError, match="row 1 of 3 has no direction"):
        tiny.submit_pixels(bad).result()
    assert is_unit_rows(tiny.submit_pixels(noise(3)).result())


def test_openvinos_own_failure_is_an_inference_error(tiny: OpenVINOEncoder) -> None:
    wrong = TokenBatch(np.zeros(3, np.int64), np.zeros(3, np.int64))
    for _ in range(10):  # more often than there are requests: each must be given back
        with pytest.raises(InferenceError, match=r"input_ids \(3,\).*could not be computed") as caught:
            tiny.submit_tokens(wrong).result()
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert is_unit_rows(tiny.embed_texts(["still here"]))


@pytest.mark.parametrize("pixels", [np.zeros((2, 9, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32)])
def test_pixels_of_another_shape_or_type_are_refused(pixels: np.ndarray, tiny: OpenVINOEncoder) -> None:
    """OpenVINO would convert floats silently."""
    with pytest.raises(InferenceError, match=r"wanted uint8 \(B, 8, 8, 3\), got"):
        tiny.submit_pixels(pixels)


def test_a_graph_of_another_dimension_is_an_error(make: Callable[..., OpenVINOEncoder]) -> None:
    manifest = TinyManifest(VectorSpace("sha256:" + "6" * 64, DIMENSION + 1, "wrong"))
    with pytest.raises(InferenceError, match=r"shape \(2, 16\), wanted \(B, 17\)"):
        make(manifest=manifest).submit_pixels(noise(2)).result()


def test_a_graph_that_cannot_be_read_is_named(
    make: Callable[..., OpenVINOEncoder], directory: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    (tmp_path / "text_encoder.xml").write_text("<net>")
    encoder = make(tmp_path)
    with pytest.raises(ModelFormatError, match=r"cannot read .*image_encoder\.xml"):
        encoder.embed_images([noise(1)[0]])
    with pytest.raises(ModelFormatError, match=r"cannot read .*text_encoder\.xml"):
        encoder.embed_texts(["a"])


class StuckRequest:
    """An inference request that ends when it is let."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate

    def start_async(self, inputs: Any, share_inputs: bool) -> None:
        pass

    def wait(self) -> None:
        assert self._gate.wait(30)
        raise RuntimeError("the device\n\nis gone")


class StuckGraph:
    """A compiled graph whose requests do not end by themselves."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate

    def get_property(self, name: str) -> Any:
        return {"OPTIMAL_NUMBER_OF_INFER_REQUESTS": 2, "EXECUTION_DEVICES": ["GPU.0", "CPU"]}[name]

    def create_infer_request(self) -> StuckRequest:
        return StuckRequest(self._gate)


def test_a_full_queue_makes_its_caller_wait() -> None:
    """Batches pile up in memory without end while the device is slow."""
    gate, entered = threading.Event(), threading.Event()
    requests = RequestQueue(StuckGraph(gate), READ)
    futures = [requests.submit({}) for _ in range(3)]

    def one_more() -> None:
        futures.append(requests.submit({}))
        entered.set()

    caller = threading.Thread(target=one_more)
    caller.start()
    assert not entered.wait(0.1)
    gate.set()
    caller.join(30)
    assert len(futures) == 4
    for future in futures:
        with pytest.raises(InferenceError, match="is gone"):
            future.result(30)


class CarefulRequest:
    """An inference request that must not be started while another is."""

    busy = threading.Lock()

    def start_async(self, inputs: Any, share_inputs: bool) -> None:
        assert self.busy.acquire(blocking=False)
        threading.Event().wait(0.001)  # lets another thread in, if one may come
        self.busy.release()

    def wait(self) -> None:
        pass

    def get_output_tensor(self, index: int) -> Any:
        return SimpleNamespace(data=np.eye(1, DIMENSION, dtype=np.float32))


def test_no_two_threads_pass_tensors_to_openvino_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two batches of a process wait for each other for ever, inside OpenVINO's binding."""
    graph = StuckGraph(threading.Event())
    monkeypatch.setattr(graph, "create_infer_request", CarefulRequest, raising=False)
    queues = [RequestQueue(graph, READ) for _ in range(2)]
    for future in [queue.submit({}) for _ in range(20) for queue in queues]:
        assert is_unit_rows(future.result(30))


def test_a_devices_list_is_told_in_one_string() -> None:
    assert RequestQueue(StuckGraph(threading.Event()), READ).device == "GPU.0,CPU"


# Laziness


def test_nothing_is_read_or_compiled_until_it_is_needed(
    make: Callable[..., OpenVINOEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that finds all its vectors in a cache loads the model; or one that embeds pictures, the text encoder."""
    compiled: list[str] = []
    real = OpenVINOEncoder._compile
    monkeypatch.setattr(
        OpenVINOEncoder, "_compile", lambda self, graph: compiled.append(graph.name) or real(self, graph)
    )
    encoder = make()
    assert encoder.provenance == Provenance(TinyManifest().vector_space, "f32", "CPU")
    assert encoder.embed_images([]).shape == encoder.embed_texts([]).shape == (0, DIMENSION)
    assert compiled == []
    encoder.embed_images([noise(1)[0]])
    assert compiled == ["image_encoder.xml"]


def test_threads_that_come_at_once_compile_once(
    make: Callable[..., OpenVINOEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    real = OpenVINOEncoder._compile
    monkeypatch.setattr(
        OpenVINOEncoder, "_compile", lambda self, graph: compiled.append(graph.name) or real(self, graph)
    )
    encoder, barrier = make(), threading.Barrier(6)

    def embed() -> None:
        barrier.wait()
        encoder.embed_texts(["a"])

    threads = [threading.Thread(target=embed) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiled == ["text_encoder.xml"]


def test_importing_the_encoder_needs_no_openvino_and_using_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import sys; sys.modules['openvino'] = None; import datumaro_clip.model.openvino"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    core.cache_clear()
    with pytest.raises(MissingDependencyError, match="running a model needs openvino: pip install"):
        core()


# Precision and device


@pytest.mark.parametrize(("device", "computes"), [("cpu", "CPU"), ("AUTO", None), ("AUTO:CPU", "CPU")])
def test_the_provenance_names_the_device_that_computes(
    device: str, computes: str | None, make: Callable[..., OpenVINOEncoder]
) -> None:
    here = [d.name for d in list_devices(core())]
    provenance = make(device=device).provenance
    assert provenance.device == computes if computes else provenance.device in here


def test_bf16_stays_near_f32_in_unit_rows(make: Callable[..., OpenVINOEncoder], tiny: OpenVINOEncoder) -> None:
    if "bf16" not in next(d for d in list_devices(core()) if d.name == "CPU").precisions:
        pytest.skip("not on this machine: its processor has no bf16")
    half = make(precision="bf16")
    assert half.provenance.precision == "bf16"
    rows, exact = half.submit_pixels(noise(64)).result(), tiny.submit_pixels(noise(64)).result()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (rows * exact).sum(axis=1).mean() >= 0.999


def test_a_device_that_took_another_precision_is_an_error(
    make: Callable[..., OpenVINOEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provenance says what the device did not do."""
    encoder = make()
    encoder._precision = "bf16"
    compiled = core().compile_model(core().read_model(encoder._path / "image_encoder.xml"), "CPU",
                                    {"INFERENCE_PRECISION_HINT": "f32"})  # fmt: skip
    stubborn = SimpleNamespace(read_model=core().read_model, compile_model=lambda *_: compiled)
    monkeypatch.setattr("datumaro_clip.model.openvino.core", lambda: stubborn)
    with pytest.raises(InferenceError, match="computes in f32 though asked for bf16"):
        encoder._compile(encoder._path / "image_encoder.xml")


# A whole CLIP


@pytest.mark.export
def test_an_exported_clip_equals_transformers(random_clip_checkpoint: Path, random_clip: Path, shared: Path) -> None:
    """Preprocessing, tokenising, export or inference loses something: cosine similarity below 0.99999."""
    from datumaro_clip.model.directory import read_manifest

    encoder = OpenVINOEncoder(random_clip, read_manifest(random_clip), precision="f32")
    photos = sorted((shared / "data").rglob("coco*/**/*.jpg"))[:200]
    captions = coco_captions(shared)[:200]
    images, texts = reference_vectors(random_clip_checkpoint, photos, captions)
    assert len(images) == len(texts) == 200
    vectors, _ = embed(photos, encoder, cache="off", exact_decode=True)
    assert (vectors * images).sum(axis=1).min() >= 0.99999
    assert (encoder.embed_texts(captions) * texts).sum(axis=1).min() >= 0.99999


def coco_captions(shared: Path) -> list[str]:
    """Captions that people wrote."""
    files = sorted((shared / "data/coco_mini").rglob("captions*.json"))
    return [entry["caption"] for file in files for entry in json.loads(file.read_text())["annotations"]]


def reference_vectors(checkpoint: Path, photos: list[Path], captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors by transformers on torch, padded to the full length."""
    import torch
    from PIL import Image
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    model = CLIPModel.from_pretrained(checkpoint).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(checkpoint)([Image.open(p) for p in photos], return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(checkpoint)(
        captions, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.no_grad():
        image = model.visual_projection(model.vision_model(pixel_values=pixels["pixel_values"]).pooler_output)
        text = model.text_projection(
            model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        )
    return tuple((rows / rows.norm(dim=1, keepdim=True)).numpy() for rows in (image, text))  # type: ignore[return-value]
