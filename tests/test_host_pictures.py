"""The pictures of items, for checks that look at pixels: files, arrays, a video's frames, and what cannot be had."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image, Video, VideoFrame
from embeddings import with_embeddings

from datumaro_clip.curate import dedup
from datumaro_clip.curate.columns import map_pictures
from datumaro_clip.curate.duplicates import find_duplicates
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import ImageRequest
from datumaro_clip.errors import ImageError
from datumaro_clip.host.items import neutral
from datumaro_clip.images import decode

FRAMES = 40


@pytest.fixture
def video(tmp_path: Path) -> Video:
    """Frames that grow brighter."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for number in range(FRAMES):
        writer.write(np.full((64, 64, 3), 5 * number, np.uint8))
    writer.release()
    return Video(str(tmp_path / "v.avi"))


def frames_of(video: Video) -> list[DatasetItem]:
    return [DatasetItem(f"frame-{number}", media=VideoFrame(video, number)) for number in range(FRAMES)]


def brightness(request: ImageRequest) -> float:
    return float(np.asarray(decode(request.fetch())).mean())


def broken() -> np.ndarray:
    raise RuntimeError("no such camera")


@pytest.mark.parametrize("channels", [3, 4])
def test_the_colours_of_an_array_are_in_datumaros_order(channels: int) -> None:
    """Blue, green, red, and, where there is a fourth, opacity."""
    pixels = np.zeros((8, 8, channels), np.uint8)
    pixels[..., 0] = 255
    pixels[..., 3:] = 255
    found = decode(neutral(DatasetItem("a", media=Image.from_numpy(pixels)), []).request().fetch())
    assert np.asarray(found)[0, 0].tolist() == [0, 0, 255]


def test_frames_of_a_video_are_read_in_order(video: Video) -> None:
    found = list(map_pictures([neutral(item, []) for item in frames_of(video)], brightness))
    np.testing.assert_allclose(found, [5 * number for number in range(FRAMES)], atol=3)


@pytest.mark.parametrize("name", ["clip_clean", "clip_dedup"])
def test_a_video_can_be_curated(name: str, video: Video) -> None:
    options = {"skip": ["blank"]} if name == "clip_clean" else {"no_vectors": True}
    assert len(Dataset.from_iterable(frames_of(video)).transform(name, **options)) > 0


@pytest.mark.parametrize(
    "media",
    [lambda video: VideoFrame(video, 999), lambda video: Image.from_numpy(broken, size=(8, 8))],
    ids=["frame", "array"],
)
def test_a_picture_that_cannot_be_had_harms_no_other(media: Callable[[Video], Image], video: Video) -> None:
    items = [DatasetItem("bad", media=media(video)), DatasetItem("good", media=Image.from_numpy(np.eye(32) * 255))]
    with pytest.raises(ImageError, match="cannot be had"):
        decode(neutral(items[0], []).request().fetch())
    options = EmbeddingOptions(model="tiny", cache="off", self_check=False)
    assert [found.embedding is None for found in with_embeddings(items, options)] == [True, False]
    [kept] = Dataset.from_iterable(items).transform("clip_clean", skip=["too_small"])
    assert kept.id == "good"


def test_thumbnails_are_not_held_while_duplicates_are_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def counting(*args: object) -> object:
        held.append(sum(type(each) is dedup._Picture for each in gc.get_objects()))
        return find_duplicates(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(dedup, "find_duplicates", counting)
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8)
    items = [DatasetItem(str(number), media=Image.from_numpy(pixels)) for number, pixels in enumerate(noise)]
    assert len(Dataset.from_iterable(items).transform("clip_dedup", no_vectors=True)) == len(items)
    assert held[0] <= 2


@pytest.mark.parametrize(
    ("media", "size"),
    [
        (Image.from_numpy(np.zeros((1, 5, 3), np.uint8), size=(1, 5)), (5, 1)),
        (Image.from_file("nowhere.jpg", size=(3, 1)), (1, 3)),
        (Image.from_file("nowhere.jpg"), None),
    ],
)
def test_a_size_is_width_and_height_where_it_is_known(media: Image, size: tuple[int, int] | None) -> None:
    assert neutral(DatasetItem("a", media=media), []).size == size


def test_encoded_bytes_are_passed_on_as_they_are() -> None:
    data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    assert neutral(DatasetItem("a", media=Image.from_bytes(data)), []).request().fetch() == data
