"""Pictures that cannot be read, among those that are to be saved: counted by their reason, and the others are stored.

Reports of the same from elsewhere: one broken file ends an export of thousands.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pillow

import datumaro_clip
from datumaro_clip.errors import StoreWriteError
from datumaro_clip.host.codec.media import MediaWriter
from datumaro_clip.store import MediaFolder, open_store
from datumaro_clip.store import media as media_module

datumaro_clip.register()


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Sound ones before and after those that are not."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "z.png"):
        Pillow.new("RGB", (8, 6), (200, 10, 10)).save(folder / name)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    return {path.stem: path for path in sorted(folder.iterdir())}


def export(pictures: dict[str, Path], path: Path, **options: Any) -> dict[str, Any]:
    """The media of each item's payload."""
    items = [DatasetItem(name, media=Image.from_file(str(file))) for name, file in pictures.items()]
    Dataset.from_iterable(items).export(str(path), "clip_mmap", no_embed=True, save_media=True, **options)
    with open_store(path) as reader:
        return {record.key.id: record.payload["media"] for record in reader.records()}


def test_bytes_are_copied_whatever_they_are(pictures: dict[str, Path], tmp_path: Path) -> None:
    """A store is without loss: it keeps a damaged file as it is."""
    media = export(pictures, tmp_path / "store")
    for name, file in pictures.items():
        assert (tmp_path / "store" / media[name]["file"]).read_bytes() == file.read_bytes()


def test_what_cannot_be_encoded_anew_is_counted(
    pictures: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    media = export(pictures, tmp_path / "store", image_ext=".jpg")
    assert {name for name, medium in media.items() if "file" in medium} == {"a", "z"}
    assert {media[name]["path"] for name in ("cut", "empty", "text")} == {
        str(pictures[n]) for n in ("cut", "empty", "text")
    }
    assert "3 media cannot be read and are not in the store" in caplog.text
    assert "(empty 1, unreadable 2)" in caplog.text
    assert str(pictures["cut"]) in caplog.text


@pytest.mark.parametrize(("error", "reason"), [(errno.EACCES, "permission"), (errno.EIO, "unreadable")])
def test_a_file_that_cannot_be_read_is_no_full_disk(
    error: int, reason: str, pictures: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it cannot be opened, or breaks off; the copy begun is gone."""
    real = Path.open

    class Breaking:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Breaking:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def read(self, size: int) -> bytes:
            raise OSError(error, "broken")

    def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if path.name == "cut.png" and "r" in mode:
            if error == errno.EACCES:
                raise PermissionError(error, "denied")
            return Breaking(real(path, mode))
        return real(path, mode, *args, **options)

    monkeypatch.setattr(media_module.Path, "open", opened)
    (tmp_path / "store").mkdir()
    writer = MediaWriter(MediaFolder(tmp_path / "store"), save=True)
    payloads = {name: writer.encode(Image.from_file(str(file)), name) for name, file in pictures.items()}
    assert writer.counts == {reason: 1}
    assert {name for name, payload in payloads.items() if "file" not in payload} == {"cut"}
    assert len(list((tmp_path / "store/media").iterdir())) == len(pictures) - 1


def test_a_full_disk_is_told_as_one(pictures: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the write, since nothing more can be stored."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *args, **options)

    monkeypatch.setattr(media_module.Path, "open", opened)
    with pytest.raises(StoreWriteError, match="make room"):
        export(pictures, tmp_path / "store")


@pytest.mark.parametrize("highest", [65535, 4095, 255])
@pytest.mark.parametrize("form", ["file", "bytes", "array"])
def test_sixteen_bits_keep_their_upper_ones(highest: int, form: str, tmp_path: Path) -> None:
    """Encoded anew, a picture of 16 bits looks as it did; Datumaro's own way keeps the lower 8, which are noise."""
    ramp = np.linspace(0, highest, 64).astype(np.uint16).reshape(8, 8)
    Pillow.fromarray(ramp).save(tmp_path / "deep.png")
    image = {
        "file": lambda: Image.from_file(str(tmp_path / "deep.png")),
        "bytes": lambda: Image.from_bytes((tmp_path / "deep.png").read_bytes(), ext=".tif"),
        "array": lambda: Image.from_numpy(ramp, ext=".tif"),
    }[form]()
    writer = MediaWriter(MediaFolder(tmp_path), save=True, image_ext=".bmp")
    saved = np.asarray(Pillow.open(tmp_path / writer.encode(image, "a")["file"]).convert("L")).astype(int)
    np.testing.assert_allclose(saved, np.linspace(0, 255, 64).reshape(8, 8), atol=2)


@pytest.mark.parametrize("form", ["clip_table", "clip_webdataset"])
@pytest.mark.parametrize("image_ext", [None, ".jpg"])
def test_tables_and_shards_go_on_as_well(
    form: str, image_ext: str | None, pictures: dict[str, Path], tmp_path: Path, monkeypatch, caplog
) -> None:
    """A picture that may not be read, or not be decoded where it is to be encoded anew, ended the export."""
    real = Path.open
    denied = pictures["text"]

    def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if path == denied:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", opened)
    items = [
        DatasetItem(name, media=Image.from_file(str(file)))
        for name, file in {**pictures, "gone": tmp_path / "gone.png"}.items()
    ]
    dataset = Dataset.from_iterable(items)
    dataset.export(str(tmp_path / "out"), form, save_media=True, image_ext=image_ext)
    saved = {item.id for item in Dataset.import_from(str(tmp_path / "out"), form) if item.media.has_data}
    sound = {"a", "z"} if image_ext else {"a", "cut", "empty", "z"}
    assert saved == sound
    told = "\n".join(caplog.messages)
    assert "1 pictures could not be copied, since their files are not there" in told
    assert f"{3 if image_ext else 1} pictures cannot be read and were not copied" in told


def test_sixteen_bits_keep_their_upper_ones_in_tables_too(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Pillow.fromarray(ramp).save(tmp_path / "deep.png")
    item = DatasetItem("deep", media=Image.from_file(str(tmp_path / "deep.png")))
    Dataset.from_iterable([item]).export(str(tmp_path / "out"), "clip_table", save_media=True, image_ext=".bmp")
    [read] = Dataset.import_from(str(tmp_path / "out"), "clip_table")
    saved = np.asarray(Pillow.open(read.media.path).convert("L"))
    np.testing.assert_array_equal(saved, ramp >> 8)
