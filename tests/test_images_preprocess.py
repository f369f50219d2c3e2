"""Preprocessing equals the model's own processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.images import Preprocessing, decode

CLIP: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "do_convert_rgb": True,
}  # fmt: skip
SIGLIP: dict[str, Any] = {
    "image_processor_type": "SiglipImageProcessor", "do_resize": True, "size": {"height": 256, "width": 256},
    "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip
# What transformers wrote before version 4.2x.
OLD_CLIP: dict[str, Any] = {
    "feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True, "size": 224, "resample": 3,
    "do_center_crop": True, "crop_size": 224, "do_normalize": True, "image_mean": CLIP["image_mean"],
    "image_std": CLIP["image_std"],
}  # fmt: skip


def pixel_values(preprocessing: Preprocessing, picture: Image.Image) -> np.ndarray:
    """(1, 3, H, W) float32: the pixels normalised, as the model's graph does it."""
    pixels = preprocessing(picture).astype(np.float64) * preprocessing.rescale_factor
    return ((pixels - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1)[None].astype(np.float32)


def noise(width: int, height: int) -> Image.Image:
    """A picture of nothing but detail."""
    generator = np.random.default_rng(width * 7919 + height)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_golden_tensor_of_clips_own_processor_is_met(shared: Path) -> None:
    preprocessing = Preprocessing.from_file(shared / "models/clip_tokenizer/preprocessor_config.json")
    expected = np.load(shared / "models/clip_golden/expected_preprocessed_image.npy", allow_pickle=False)
    got = pixel_values(preprocessing, decode(shared / "models/clip_golden/franz-kafka.jpg"))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.export
@pytest.mark.parametrize(
    "config",
    [
        CLIP,
        SIGLIP,
        OLD_CLIP,
        CLIP | {"resample": 2},
        CLIP | {"resample": 0},
        CLIP | {"size": {"shortest_edge": 30}, "crop_size": {"height": 41, "width": 30}},
        CLIP | {"size": {"height": 50, "width": 77}, "crop_size": {"height": 33, "width": 32}},
        CLIP | {"do_center_crop": False, "size": {"height": 31, "width": 64}},
        CLIP | {"do_resize": False, "crop_size": {"height": 60, "width": 61}},
        CLIP | {"do_rescale": False},
        CLIP | {"do_normalize": False},
    ],
)
def test_it_equals_transformers_on_pictures_of_any_size(config: dict[str, Any]) -> None:
    """Rounding of sizes, crop offsets or the filter differ by a pixel or a level."""
    transformers = pytest.importorskip("transformers", reason="needs the export extra")
    kind = transformers.SiglipImageProcessorPil if config is SIGLIP else transformers.CLIPImageProcessorPil
    theirs, ours = kind.from_dict(config), Preprocessing.from_config(config)

    @settings(max_examples=25, database=None)
    @given(st.integers(1, 500), st.integers(1, 500))
    @example(1, 1)
    @example(224, 224)
    @example(225, 224)
    @example(223, 500)
    @example(640, 480)
    def agree(width: int, height: int) -> None:
        picture = noise(width, height)
        expected = np.asarray(theirs(picture, return_tensors="np")["pixel_values"])
        np.testing.assert_allclose(pixel_values(ours, picture), expected, rtol=1e-6, atol=2e-6)

    agree()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 100_000)])
def test_a_sliver_costs_no_more_than_what_is_kept_of_it(size: tuple[int, int]) -> None:
    """Resized whole, 1×100,000 pixels would be five thousand million."""
    assert Preprocessing.from_config(CLIP)(noise(*size)).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("config", "size", "target"),
    [(CLIP, (224, 224), 448), (SIGLIP, (256, 256), 512), (CLIP | {"size": {"shortest_edge": 256}}, (224, 224), 512)],
)
def test_it_knows_its_sizes(config: dict[str, Any], size: tuple[int, int], target: int) -> None:
    preprocessing = Preprocessing.from_config(config)
    assert (preprocessing.size, preprocessing.decode_target) == (size, target)


@pytest.mark.parametrize(("spare", "left"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4), (15, 8)])
def test_a_configuration_may_round_margins_half_to_even(spare: int, left: int) -> None:
    """As torchvision does: 1.5 columns are 2, 2.5 are 2."""
    picture = noise(224 + spare, 224)
    pixels = Preprocessing.from_config(CLIP | {"crop_rounding": "half_to_even"})(picture)
    np.testing.assert_array_equal(pixels, np.asarray(picture)[:, left : left + 224])


def test_the_pixels_are_writable_and_contiguous() -> None:
    pixels = Preprocessing.from_config(CLIP)(noise(300, 300))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "lacks 'image_mean'"),
        ({"do_normalize": False}, "lacks 'size'"),
        ({"do_resize": False, "do_normalize": False}, "fixes no picture size"),
        (SIGLIP | {"size": {"shortest_edge": 224}}, "fixes no picture size"),
        (SIGLIP | {"size": {"longest_edge": 224}}, "neither a shortest edge nor height and width"),
        (SIGLIP | {"size": "large"}, "size 'large'"),
        (SIGLIP | {"do_pad": True}, "do_pad is not supported"),
        ({k: v for k, v in CLIP.items() if k != "image_mean"}, "lacks 'image_mean'"),
        (CLIP | {"image_std": [0.5]}, "3 numbers"),
        (CLIP | {"image_std": [0.5, 0.0, 0.5]}, "deviation is zero"),
        (CLIP | {"image_mean": [0.5, float("nan"), 0.5]}, "3 numbers"),
        (CLIP | {"rescale_factor": None}, "rescale_factor None is not a finite number"),
        (CLIP | {"rescale_factor": "bright"}, "rescale_factor 'bright' is not a finite number"),
        (CLIP | {"rescale_factor": float("inf")}, "rescale_factor inf is not a finite number"),
        (CLIP | {"rescale_factor": 0}, "rescale_factor is 0.0, wanted one above zero"),
        (CLIP | {"size": {"shortest_edge": None}}, "size None is not a finite number"),
        (CLIP | {"size": {"shortest_edge": 10**400}}, "size 1000.* is not a finite number"),
        (CLIP | {"size": 0}, "has a side without pixels"),
        (CLIP | {"crop_size": {"height": 0, "width": 224}}, r"crop \(0, 224\) has a side without pixels"),
        (SIGLIP | {"size": {"height": 256, "width": -1}}, r"size \(256, -1\) .* has a side without pixels"),
        (CLIP | {"resample": 99}, "resample 99"),
        (CLIP | {"crop_rounding": "up"}, "crop_rounding 'up' is none of down, half_to_even"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        Preprocessing.from_config(config)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"size": 3}'])
def test_a_file_that_is_no_configuration_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text)
    with pytest.raises(ModelFormatError, match="preprocessor_config"):
        Preprocessing.from_file(path)
    with pytest.raises(ModelFormatError, match="none"):
        Preprocessing.from_file(tmp_path / "none.json")


def test_a_file_with_a_value_that_cannot_be_is_named_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CLIP | {"rescale_factor": None}))
    with pytest.raises(ModelFormatError, match=r"preprocessor_config.json: .*rescale_factor.*copy the model's own"):
        Preprocessing.from_file(path)


def test_a_factor_of_zero_is_refused_wherever_it_comes_from() -> None:
    """The graph divides by it."""
    with pytest.raises(ModelFormatError, match="rescale_factor"):
        Preprocessing(224, (224, 224), rescale_factor=0.0)


def test_a_file_is_read_as_its_mapping_is(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(SIGLIP))
    assert Preprocessing.from_file(path) == Preprocessing.from_config(SIGLIP)
