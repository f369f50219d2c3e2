"""What is released: what is in the wheel, where the version comes from, and whether the changelog fits the tag."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    assert wheel.stat().st_size < MOST_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    places = {name.split("/")[0] for name in names}
    [info] = {place for place in places if place.endswith(".dist-info")}
    assert places == {"datumaro_clip", "datumaro_clip.pth", info}
    # The bundled model's known vectors are the only data; the page and the icon are the explorer's own.
    data = {
        name for name in names if name.endswith((".npy", ".h5", ".jpg", ".png", ".parquet", ".csv", ".onnx", ".pkl"))
    }
    assert data == {"datumaro_clip/bundled/tiny/golden.npy"}
    assert not [name for name in names if "test" in name.lower().replace("datumaro_clip/testing/", "")]
    assert {"datumaro_clip/py.typed", "datumaro_clip/report/static/page.css", f"{info}/licenses/LICENSE"} <= set(names)


def test_the_index_can_show_the_readme(wheel: Path):
    if find_spec("twine") is None:
        pytest.skip("needs twine, of the extra 'dev'")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel)], check=True)


def repository(root: Path, heading: str) -> Path:
    """A repository of one commit."""
    (root / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{heading}\n\n- One.\n\n## 0.1.0 – 2020-01-01\n", encoding="utf-8"
    )
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b.example commit -qm one"):
        subprocess.run(["git", *words.split()], cwd=root, check=True)
    return root


@pytest.mark.parametrize(
    ("heading", "tag", "found"),
    [
        ("## 0.2.0 – unreleased", None, "0.2.0.dev0"),
        ("## 0.2.0 – 2026-01-31", None, "0.2.0"),
        ("## 0.2.0 – 2026-01-31", "v0.2.0", "0.2.0"),
        ("## 0.2.0 – unreleased", "v0.3.0", "0.3.0"),
        ("## 0.2.0 – unreleased", "other", "0.2.0.dev0"),
    ],
)
def test_the_version_is_the_tags_else_the_changelogs(
    heading: str, tag: str | None, found: str, tmp_path: Path, tools: Path
):
    from version import version

    root = repository(tmp_path, heading)
    if tag:
        subprocess.run(["git", "tag", tag], cwd=root, check=True)
    assert version(root) == found


def test_a_source_distribution_knows_its_version(tmp_path: Path, tools: Path):
    from version import version

    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: x\nVersion: 9.8.7\n\nVersion: no\n")
    assert version(tmp_path) == "9.8.7"


def test_a_tag_that_the_changelog_does_not_begin_with_is_refused(tmp_path: Path, tools: Path):
    from version import check

    for heading, tag in (
        ("## 0.2.0 – unreleased", "v0.2.0"),
        ("## 0.2.0 – 2026-01-31", "v0.2.1"),
        ("nothing", "v0.2.0"),
    ):
        (tmp_path / "CHANGELOG.md").write_text(heading, encoding="utf-8")
        with pytest.raises(SystemExit):
            check(tag, tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("## 0.2.0 – 2026-01-31", encoding="utf-8")
    check("v0.2.0", tmp_path)


def test_this_changelog_has_a_version(tools: Path):
    from version import first_section

    assert first_section()[0] >= "0.2.0"


def test_the_installed_command_tells_a_version():
    import datumaro_clip

    assert datumaro_clip.__version__[0].isdigit()
