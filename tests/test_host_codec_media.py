"""Media of every kind come back, copied, encoded or referred to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from codec_values import PIXELS, assert_identical, through_json
from datumaro.components.media import (
    Image,
    MediaElement,
    MosaicImage,
    MultiframeImage,
    PointCloud,
    RoIImage,
    Table,
    Video,
    VideoFrame,
)

from datumaro_clip.host.codec.media import MediaReader, MediaWriter
from datumaro_clip.store import MediaFolder


def jpeg(path: Path) -> str:
    Image.from_numpy(PIXELS).save(str(path / "a.jpg"))
    return str(path / "a.jpg")


def png_bytes(path: Path) -> bytes:
    Image.from_numpy(PIXELS).save(str(path / "b.png"))
    return (path / "b.png").read_bytes()


def video(path: Path) -> str:
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2, (16, 16))
    for level in (0, 100, 200, 250):
        writer.write(np.full((16, 16, 3), level, np.uint8))
    writer.release()
    return str(path / "v.avi")


IMAGES = {
    "file": lambda path: Image.from_file(jpeg(path)),
    "file with a size": lambda path: Image.from_file(jpeg(path), size=(6, 5)),
    "array": lambda path: Image.from_numpy(PIXELS),
    "grey array": lambda path: Image.from_numpy(PIXELS[..., 0]),
    "BGRA array": lambda path: Image.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 4, 4), dtype=np.uint8)),
    "lazy array": lambda path: Image.from_numpy(lambda: PIXELS, size=(6, 5)),
    "float array": lambda path: Image.from_numpy(PIXELS * 0.37),
    "bytes": lambda path: Image.from_bytes(png_bytes(path)),
    "lazy bytes": lambda path: Image.from_bytes(lambda: png_bytes(path)),
    "region of a file": lambda path: RoIImage.from_image(Image.from_file(jpeg(path)), (1, 1, 2, 3)),
    "region of an array": lambda path: RoIImage.from_image(Image.from_numpy(PIXELS), (1, 1, 2, 3)),
    "region of bytes": lambda path: RoIImage.from_image(Image.from_bytes(png_bytes(path)), (0, 0, 2, 2)),
    "mosaic": lambda path: MosaicImage.from_image_roi_pairs(
        [(Image.from_numpy(PIXELS), (0, 0, 5, 6)), (Image.from_file(jpeg(path)), (5, 6, 5, 6))], (12, 10)
    ),
    "video frame": lambda path: VideoFrame(Video(video(path)), 2),
}


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_pictures_come_back_by_pixel(kind: str, tmp_path: Path) -> None:
    """Saved inside the store, each is the same picture after its origin is gone."""
    (tmp_path / "origin").mkdir()
    (tmp_path / "store/media").mkdir(parents=True)
    image = IMAGES[kind](tmp_path / "origin")
    wanted = image.data
    payload = through_json(MediaWriter(MediaFolder(tmp_path / "store"), save=True).encode(image, "train/a"))
    for file in (tmp_path / "origin").iterdir():
        file.unlink()
    found = MediaReader(tmp_path / "store").decode(payload)
    np.testing.assert_array_equal(found.data, wanted)
    assert found.size == image.size


def test_a_copied_file_has_the_bytes_it_had(tmp_path: Path) -> None:
    """No picture is decoded and encoded on its way."""
    (tmp_path / "store/media").mkdir(parents=True)
    path = Path(jpeg(tmp_path))
    payload = MediaWriter(MediaFolder(tmp_path / "store"), save=True).encode(Image.from_file(str(path)), "train/a/b")
    assert payload == {"type": "image", "file": "media/train/a/b.jpg", "size": [6, 5]}
    assert (tmp_path / "store/media/train/a/b.jpg").read_bytes() == path.read_bytes()


def test_media_that_are_not_saved_are_referred_to(tmp_path: Path) -> None:
    """A file by its path and the size in its header; a picture in memory by its size, counted."""
    writer = MediaWriter(MediaFolder(tmp_path), save=False)
    path = jpeg(tmp_path)
    assert writer.encode(Image.from_file(path), "a") == {"type": "image", "path": path, "size": [6, 5]}
    payload = writer.encode(Image.from_numpy(PIXELS, size=(6, 5)), "a")
    assert payload == {"type": "image", "size": [6, 5]}
    found = MediaReader(tmp_path).decode(payload)
    assert (found.has_data, found.data, found.size) == (False, None, (6, 5))
    assert writer.counts == {"unsaved": 1}


def test_a_missing_file_is_counted_and_referred_to(tmp_path: Path) -> None:
    writer = MediaWriter(MediaFolder(tmp_path), save=True)
    gone = str(tmp_path / "gone.jpg")
    assert writer.encode(Image.from_file(gone), "a") == {"type": "image", "path": gone}
    assert writer.counts == {"missing": 1}


def test_pictures_are_encoded_anew_where_asked(tmp_path: Path) -> None:
    """``--image-ext`` gives files of that format."""
    (tmp_path / "media").mkdir()
    writer = MediaWriter(MediaFolder(tmp_path), save=True, image_ext="png")
    image = Image.from_file(jpeg(tmp_path))
    payload = writer.encode(image, "a")
    assert payload["file"] == "media/a.png"
    np.testing.assert_array_equal(MediaReader(tmp_path).decode(payload).data, image.data)


def test_other_media_come_back(tmp_path: Path) -> None:
    """Point clouds with pictures, multi-frame images, videos, bare elements."""
    (tmp_path / "media").mkdir()
    writer, reader = MediaWriter(MediaFolder(tmp_path), save=True), MediaReader(tmp_path)
    (tmp_path / "a.pcd").write_bytes(b"cloud")
    path = video(tmp_path)
    for media in (
        PointCloud.from_file(str(tmp_path / "a.pcd"), extra_images=[Image.from_numpy(PIXELS)]),
        PointCloud.from_bytes(b"cloud", extra_images=lambda: [Image.from_file(jpeg(tmp_path))]),
        Video(path, step=2, start_frame=0, end_frame=2),
        MediaElement(),
    ):
        assert reader.decode(through_json(writer.encode(media, "a"))) == media
    frames = MultiframeImage([Image.from_numpy(PIXELS), jpeg(tmp_path)], path="somewhere.tif")
    found = reader.decode(through_json(writer.encode(frames, "a")))
    assert (found.data, found.path) == (frames.data, frames.path)


def test_frames_share_their_video(tmp_path: Path) -> None:
    """One copy of the file, one decoder."""
    (tmp_path / "media").mkdir()
    writer, reader = MediaWriter(MediaFolder(tmp_path), save=True), MediaReader(tmp_path)
    origin = Video(video(tmp_path))
    frames = [reader.decode(through_json(writer.encode(VideoFrame(origin, i), f"f{i}"))) for i in range(3)]
    assert len({id(frame.video) for frame in frames}) == 1
    assert [p.name for p in (tmp_path / "media").rglob("*.avi")] == ["v.avi"]


def test_tables_come_back(tmp_path: Path) -> None:
    """Each table once, with its columns' types; rows refer to it."""
    (tmp_path / "media").mkdir()
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, math.nan], "t": ["a", "ü"]})
    table = Table.from_dataframe(frame)
    writer, reader = MediaWriter(MediaFolder(tmp_path), save=False), MediaReader(tmp_path)
    rows = [reader.decode(through_json(writer.encode(table[i], "a"))) for i in range(2)]
    assert rows[0].table is rows[1].table
    pd.testing.assert_frame_equal(rows[0].table.data, frame)
    assert_identical(rows[1].data(), table[1].data())
