"""Folders that all workers share: on a disk, and behind a URL."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest
from shards import decisions, planned, require_same

from datumaro_clip.cli import main
from datumaro_clip.distributed.making import write_plan
from datumaro_clip.distributed.places import Folder, Place, split_place
from datumaro_clip.distributed.remote import Remote
from datumaro_clip.errors import ClusterError, OptionError


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty folder of each kind."""
    if request.param == "folder":
        return Folder(tmp_path / "new")
    if request.param == "memory":
        return Remote(f"memory://{tmp_path.name}/new")
    return Remote(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The endpoint of a server that speaks S3."""
    for library in ("moto", "flask", "s3fs"):
        if find_spec(library) is None:
            pytest.skip(f"needs {library}, of the extra 'test-servers'")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket, which the environment says how to reach."""
    import s3fs

    for name, value in (
        ("AWS_ENDPOINT_URL", moto_server),
        ("AWS_ACCESS_KEY_ID", "one"),
        ("AWS_SECRET_ACCESS_KEY", "two"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if not files.exists("plans"):
        files.mkdir("plans")
    return "s3://plans"


def test_files_are_whole_and_a_name_is_given_to_one_writer(place: Place) -> None:
    assert place.names() == set()
    assert place.read("a") is None
    assert place.create("a", b"1")
    assert not place.create("a", b"2")
    assert place.read("a") == b"1"
    place.write("a", b"3")
    assert place.read("a") == b"3"
    assert place.names() == {"a"}
    place.remove("a")
    place.remove("a")
    assert place.names() == set()


def test_a_directory_appears_whole_and_is_had_again(place: Place) -> None:
    with place.fill("d", "label") as directory:
        (directory / "label").write_bytes(b"4")
        (directory / "below").mkdir()
        (directory / "below" / "x").write_bytes(b"5" * 100_000)
        assert place.read("d/label") is None
        assert "d" not in place.names()
    assert place.read("d/label") == b"4"
    assert "d" in place.names()
    with place.fetch("d") as directory:
        assert (directory / "below" / "x").read_bytes() == b"5" * 100_000
        assert sorted(path.name for path in directory.rglob("*")) == ["below", "label", "x"]
    place.remove("d")
    assert place.names() == set()


def test_a_directory_whose_making_fails_is_not_there(place: Place) -> None:
    def fail() -> None:
        with place.fill("d", "label") as directory:
            (directory / "label").write_bytes(b"4")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert place.names() == set()


def test_the_first_to_fill_a_folder_on_a_disk_counts(tmp_path: Path) -> None:
    place = Folder(tmp_path)

    def overtaken() -> None:
        with place.fill("d", "x") as one:
            (one / "x").write_bytes(b"1")
            with place.fill("d", "x") as other:
                (other / "x").write_bytes(b"2")

    with pytest.raises(FileExistsError):
        overtaken()
    assert place.read("d/x") == b"2"


def test_an_archive_that_climbs_out_is_refused(tmp_path: Path) -> None:
    place = Remote(f"memory://{tmp_path.name}/hostile")
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        file.addfile(tarfile.TarInfo("../out"))
    place.write("d.tar", content.getvalue())
    with pytest.raises(tarfile.FilterError), place.fetch("d"):
        pass


def test_urls_that_cannot_be_are_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError, match="nonsense://x cannot be opened"):
        split_place("nonsense://x/plan.json")
    assert main(["plan", "status", "nonsense://x/plan.json"]) == 1
    assert capsys.readouterr().err.startswith("datum-clip: nonsense://x cannot be opened")


def test_a_bucket_that_is_not_reached_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="check the address and the keys"):
        Remote(f"{bucket}-of-nobody").write("a", b"1")


def test_a_plan_behind_a_url_gives_the_store_of_one_machine(
    bucket: str, shop: Path, shop_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{bucket}/{tmp_path.name}/plan.json"
    write_plan(*planned(f"{shop}:coco", 3), url)
    assert main(["plan", "run", url, "--shard", "1", "--cache", "off"]) == 0
    assert main(["plan", "run", url, "--cache", "off"]) == 0
    assert main(["plan", "status", url]) == 0
    assert ": 3 done; 40 of 40 items" in capsys.readouterr().out
    assert main(["plan", "merge", url, "-o", str(tmp_path / "merged")]) == 0
    require_same(shop_store, tmp_path / "merged")
    assert decisions(tmp_path / "merged", "clip_dedup") == decisions(shop_store, "clip_dedup")
