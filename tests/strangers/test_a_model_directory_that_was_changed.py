"""A model directory is somebody else's file: changed by accident it is refused, changed on purpose it harms nothing."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import models

from datumaro_clip.errors import DatumaroClipError, ModelFormatError, SelfCheckError
from datumaro_clip.model.directory import MANIFEST, describe_files, read_manifest, write_manifest
from datumaro_clip.model.golden import GoldenVectors
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import BUNDLED
from datumaro_clip.texts import TextSettings, Tokenizer

STRANGE = [None, True, -1, 0, 1e300, 10**30, "", "\x1b[2J", "x" * 5000, [], [[]], {}, {"a": []}, "../../etc", "🐈"]
TEXTS = ["a red hat", "", "été " * 60]
PICTURES = [np.full((50, 40, 3), 77, np.uint8)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(BUNDLED / "tiny", tmp_path / "model")


def change(model: Path, name: str, edit: Callable[[Any], Any]) -> None:
    """Change a JSON file of a model."""
    values = json.loads((model / name).read_text(encoding="utf-8"))
    (model / name).write_text(json.dumps(edit(values)), encoding="utf-8")


def sealed(model: Path) -> None:
    """Make the manifest say what the files are now, as whoever changes them on purpose would."""
    write_manifest(model, replace(read_manifest(BUNDLED / "tiny"), files=describe_files(model)))


def unseal(model: Path) -> None:
    """Make it a directory of an earlier release."""
    change(model, MANIFEST, lambda values: {key: value for key, value in values.items() if key != "digest"})


def places(values: Any) -> list[tuple[Any, Any]]:
    """Each place of a JSON value that holds another: its container and its key."""
    keys = list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else []
    return [(values, key) for key in keys] + [place for key in keys for place in places(values[key])]


def mutated(values: Any, chance: random.Random) -> Any:
    """A copy with one value replaced, or left out."""
    copy = json.loads(json.dumps(values))
    container, key = chance.choice(places(copy))
    if chance.random() < 0.2:
        del container[key]
    else:
        container[key] = chance.choice(STRANGE)
    return copy


def used(model: Path) -> str:
    """What comes of using a model: vectors, or one of our errors in one line."""
    try:
        encoder = load_model(model, precision="f32")
        assert np.isfinite(encoder.embed_images(PICTURES)).all()
        assert np.isfinite(encoder.embed_texts(TEXTS)).all()
    except DatumaroClipError as exc:
        return "an error of several lines" if "\n" in str(exc) else type(exc).__name__
    return "vectors"


@pytest.mark.parametrize("key", ["context_length", "pad_id", "lowercase"])
def test_a_changed_text_setting_is_refused(key: str, model: Path) -> None:
    """Other vectors of texts in the same space, and nothing was said in f32."""
    change(model, MANIFEST, lambda values: values | {"text": values["text"] | {key: 5 if key != "lowercase" else True}})
    with pytest.raises(ModelFormatError, match="was changed"):
        load_model(model)


def test_a_directory_of_an_earlier_release_gives_the_same_vectors(model: Path) -> None:
    wanted = load_model("tiny", precision="f32").embed_texts(TEXTS)
    unseal(model)
    encoder = load_model(model, precision="f32")
    np.testing.assert_array_equal(encoder.embed_texts(TEXTS), wanted)
    np.testing.assert_array_equal(
        encoder.embed_images(PICTURES), load_model("tiny", precision="f32").embed_images(PICTURES)
    )


def test_a_changed_setting_of_an_earlier_release_is_found_by_its_golden_texts(model: Path) -> None:
    """Such a manifest has no digest; so its texts are compared with their known vectors, in f32 on the CPU, too."""
    change(model, MANIFEST, lambda values: values | {"text": values["text"] | {"context_length": 5}})
    unseal(model)
    encoder = load_model(model, precision="f32")
    encoder.embed_images(PICTURES)
    with pytest.raises(SelfCheckError, match="golden text"):
        encoder.embed_texts(TEXTS)


@pytest.mark.parametrize("seed", range(16))
def test_a_manifest_with_any_value_replaced_is_refused_or_used(seed: int, model: Path) -> None:
    change(model, MANIFEST, lambda values: mutated(values, random.Random(seed)))
    assert used(model) == "ModelFormatError"
    unseal(model)
    assert used(model) in ("vectors", "ModelFormatError", "SelfCheckError")


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json"])
def test_a_tokenizer_or_processor_with_any_value_replaced_is_refused_or_used(seed: int, name: str, model: Path) -> None:
    """The tokenizers library ends some of them in a panic, which is no Exception."""
    change(model, name, lambda values: mutated(values, random.Random(seed)))
    sealed(model)
    assert used(model) in ("vectors", "ModelFormatError", "InferenceError")


def test_a_tokenizers_panic_is_an_error() -> None:
    class PanicException(BaseException):
        """As the library's binding calls it."""

    class Panicking:
        def no_padding(self) -> None:
            pass

        def enable_truncation(self, length: int) -> None:
            pass

        def encode_batch_fast(self, texts: list[str]) -> None:
            raise PanicException("index out of bounds")

    tokenizer = Tokenizer(Panicking(), TextSettings(77, "longest", 0))  # type: ignore[arg-type]
    with pytest.raises(ModelFormatError, match="fails on these texts: index out of bounds"):
        tokenizer.encode(["a"])


def test_ctrl_c_while_a_tokenizer_works_is_no_error_of_the_model() -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer = Tokenizer(backend, TextSettings(77, "longest", 0))

    class Interrupted:
        def encode_batch_fast(self, texts: list[str]) -> None:
            raise KeyboardInterrupt

    tokenizer._backend = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode(["a"])


@pytest.mark.parametrize("shape", [(10**11, 4), (16, 10**11), (10**9, 10**9), (16, 4, 10**9)])
def test_golden_vectors_that_claim_to_be_huge_take_no_memory(shape: tuple[int, ...], tmp_path: Path) -> None:
    with (tmp_path / "golden.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(256))
    with pytest.raises(ModelFormatError):
        GoldenVectors.load(tmp_path)


@pytest.mark.parametrize("side", [2049, 10**6, 10**12])
@pytest.mark.parametrize("key", ["size", "crop_size"])
def test_a_picture_size_that_would_take_all_memory_is_refused(side: int, key: str, model: Path) -> None:
    change(model, "preprocessor_config.json", lambda values: values | {key: {"height": side, "width": side}})
    sealed(model)
    with pytest.raises(ModelFormatError, match="more than 2048 pixels"):
        load_model(model)
