"""Pictures are shown by look-up only, with what browsers need to keep them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import client_of, colours_store, picture
from starlette.testclient import TestClient

from datumaro_clip.service import Settings
from datumaro_clip.service.pictures import Picture
from datumaro_clip.service.thumbnails import SIZES, Thumbnails
from datumaro_clip.store import Header, Record, create_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS
from datumaro_clip.vectors import ItemKey

ENCODER = FakeEncoder()
RED = picture(COLOURS["red"])


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def store_of(path: Path, media: dict[str, Any], before: Any = None) -> Path:
    """A store of one item, ``x``, of these media."""
    with create_store(path, "clip_mmap", Header()) as writer:
        writer.declare(ENCODER.provenance)
        if before is not None:
            media["file"] = writer.media.add_bytes(*before)
        writer.add(Record(ItemKey("x", "s"), {"media": media}, ENCODER.embed_images([RED])[0]))
    return path


def shown(store: Path, **settings: Any) -> Any:
    """The answer for the picture of ``x``, beside the one for its thumbnail, and the URL in a search."""
    with client_of(store, settings=Settings(**settings)) as client:
        name = store.name
        [hit] = (
            client.post("/search", json={"query": "red"}).json()
            if store.name == "colours"
            else client.get("/search/text?q=red").json()
        )
        return client.get(f"/images/{name}/s/x"), client.get(f"/thumbnails/{name}/s/x"), hit["image_url"]


@pytest.fixture(scope="module")
def client(cache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(colours_store(tmp_path_factory.mktemp("stores") / "colours")) as client:
        yield client


def test_a_picture_is_sent_as_it_was_saved(client: TestClient):
    answer = client.get("/images/colours/train/red/red.png")
    assert answer.content == RED
    assert answer.headers["content-type"] == "image/png"
    assert "private" in answer.headers["cache-control"]


def test_what_a_browser_has_is_not_sent_again(client: TestClient):
    for path in ("/images/colours/train/red/red.png", "/thumbnails/colours/train/red?size=64", "/assets/docs.js"):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": f'"other", {tag}' if "assets" not in path else tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize(("asked", "part"), [("bytes=0-9", RED[:10]), ("bytes=-5", RED[-5:]), ("bytes=20-", RED[20:])])
def test_a_part_is_sent_where_it_is_asked_for(client: TestClient, tmp_path: Path, asked: str, part: bytes):
    answer = client.get("/images/colours/train/red", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, part)
    tar = in_tar(tmp_path / "tar")
    with client_of(tar) as other:
        answer = other.get("/images/colours/s/x", headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, part)
        assert other.get("/images/colours/s/x", headers={"Range": "bytes=999999-"}).status_code == 416
    assert client.get("/images/colours/train/red", headers={"Range": "bytes=999999-"}).status_code == 416


def test_head_says_what_get_sends(client: TestClient):
    answer = client.head("/images/colours/train/red")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(RED)))


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_a_thumbnail_is_a_jpeg_of_at_most_that_size(client: TestClient, size: int):
    answer = client.get(f"/thumbnails/colours/train/red?size={size}")
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, max(image.size)) == ("JPEG", min(size, 48))


@pytest.mark.parametrize("size", ["0", "100", "-64", "1e3", "x", ""])
def test_other_sizes_are_refused(client: TestClient, size: str):
    assert client.get(f"/thumbnails/colours/train/red?size={size}").status_code == 422


def test_a_thumbnail_is_made_once(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    first = client.get("/thumbnails/colours/train/red?size=64")
    monkeypatch.setattr("datumaro_clip.service.thumbnails.make", None)
    assert client.get("/thumbnails/colours/train/red?size=64").content == first.content


def test_the_oldest_thumbnails_are_removed_when_they_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path))
    monkeypatch.setattr("datumaro_clip.service.thumbnails._LOOK_EVERY", 4)
    (tmp_path / "r.png").write_bytes(RED)
    thumbnails, picture = Thumbnails(), Picture("r.png", tmp_path / "r.png")
    made = [thumbnails.path(picture, size) for size in SIZES[:3]]
    for age, path in enumerate(made):
        os.utime(path, (age, age))
    kept = made[2].stat().st_size
    monkeypatch.setattr("datumaro_clip.service.thumbnails.MOST_BYTES", 2.5 * kept)
    made.append(thumbnails.path(picture, SIZES[3]))
    assert [path.exists() for path in made] == [False, False, True, True]


@pytest.mark.parametrize(
    "path",
    [
        "/images/colours/train/nothing",
        "/images/other/train/red",
        "/images/colours/train/..%2F..%2Fetc%2Fpasswd",
        "/images/colours/~2E~2E/~2E~2E~2Fclip_mmap.json",
        "/assets/..%2Faccess.py",
        "/assets/access.py",
    ],
)
def test_nothing_else_is_sent(client: TestClient, path: str):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert set(answer.json()) == {"error", "request_id"}


def test_a_picture_that_is_not_saved_needs_a_media_root(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "r.png").write_bytes(RED)
    store = store_of(tmp_path / "colours", {"type": "image", "path": str(tmp_path / "pictures" / "r.png")})
    image, thumbnail, url = shown(store)
    assert (image.status_code, thumbnail.status_code, url) == (404, 404, None)
    assert "--media-root" in image.json()["error"]["message"]
    image, thumbnail, url = shown(store, media_root=(tmp_path / "pictures",))
    assert (image.content, thumbnail.status_code) == (RED, 200)
    assert url == "http://127.0.0.1:8000/images/colours/s/x/r.png"


def test_a_link_does_not_lead_out_of_the_media_root(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "secret.png").write_bytes(RED)
    (tmp_path / "pictures" / "r.png").symlink_to(tmp_path / "secret.png")
    store = store_of(tmp_path / "colours", {"type": "image", "path": str(tmp_path / "pictures" / "r.png")})
    assert shown(store, media_root=(tmp_path / "pictures",))[0].status_code == 404
    store = store_of(tmp_path / "up", {"type": "image", "path": str(tmp_path / "pictures" / ".." / "secret.png")})
    with client_of({"up": store}, settings=Settings(media_root=(tmp_path / "pictures",))) as client:
        assert client.get("/images/up/s/x").status_code == 404


@pytest.mark.parametrize("file", ["../secret.png", "media/../../secret.png", "/etc/passwd", "clip_mmap.json"])
def test_a_store_cannot_name_a_file_outside_its_media(tmp_path: Path, file: str):
    (tmp_path / "secret.png").write_bytes(RED)
    image, _, url = shown(store_of(tmp_path / "colours", {"type": "image", "file": file}))
    assert (image.status_code, url) == (404, None)


@pytest.mark.parametrize("data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html><script>", b"", b"root:x:0"])
def test_what_is_no_picture_is_not_sent(tmp_path: Path, data: bytes):
    store = store_of(tmp_path / "colours", {"type": "image"}, before=(data, "x.png"))
    image, thumbnail, _ = shown(store)
    assert image.status_code == 404
    assert thumbnail.status_code in (404, 415)


def test_an_array_is_sent_as_a_png(tmp_path: Path):
    buffer = io.BytesIO()
    np.save(buffer, np.full((5, 6, 3), 7, np.uint8))
    store = store_of(tmp_path / "colours", {"type": "image"}, before=(buffer.getvalue(), "x.npy"))
    image, thumbnail, _ = shown(store)
    assert (image.headers["content-type"], Image.open(io.BytesIO(image.content)).size) == ("image/png", (6, 5))
    assert thumbnail.status_code == 200


def in_tar(path: Path) -> Path:
    """A store whose picture is in a tar file."""
    path.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path / "shard.tar", "w") as tar:
        member = tarfile.TarInfo("r.png")
        member.size = len(RED)
        tar.addfile(member, io.BytesIO(RED))
    with tarfile.open(path / "shard.tar") as tar:
        offset = tar.getmember("r.png").offset_data
    archive = {"root": str(path), "archive": "shard.tar", "offset": offset, "length": len(RED), "member": "r.png"}
    return store_of(path / "colours", {"type": "image", "archive": archive})


def test_a_picture_comes_out_of_a_tar_file(tmp_path: Path):
    store = in_tar(tmp_path)
    image, thumbnail, url = shown(store)
    assert (image.content, thumbnail.status_code) == (RED, 200)
    assert url == "http://127.0.0.1:8000/images/colours/s/x/r.png"
    (tmp_path / "shard.tar").write_bytes(b"\0" * 10_240)
    assert shown(store)[0].status_code == 404
    (tmp_path / "shard.tar").unlink()
    assert shown(store)[0].status_code == 404


def test_bytes_of_a_file_that_is_no_tar_are_not_sent(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 512 + RED)
    archive = {"root": str(tmp_path), "archive": "secret", "offset": 512, "length": len(RED), "member": "r.png"}
    assert shown(store_of(tmp_path / "colours", {"type": "image", "archive": archive}))[0].status_code == 404


def test_the_service_counts_what_it_cannot_show_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = store_of(tmp_path / "colours", {"type": "image", "path": "/nowhere/r.png"})
    with client_of(store) as client:
        wanted = 'datumaro_clip_pictures_unavailable{reason="not_saved",store="colours"} 1.0'
        while wanted not in client.get("/metrics").text:
            pass
    assert "1 pictures cannot be served" in caplog.text
    assert "--media-root" in caplog.text
