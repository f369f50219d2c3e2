"""Every command that the documentation shows runs as printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import BIN, run_python

from datumaro_clip.demo.catalogue import write_catalogue

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Run by CI itself, or by a test of their own.
ELSEWHERE = ("make ", "pip install ", "datum-clip demo", "datum-clip serve", "curl ", "python tools/train_tiny.py")


def commands(page: Path) -> list[str]:
    """The lines that begin with a prompt, in the page's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


def write_shop(folder: Path, pictures: list[Path]) -> None:
    """What the pages call path/to/shop: a table of products and their pictures."""
    (folder / "images").mkdir(parents=True)
    lines = ["product_id,title,category,price,image", '0000007,"Scarf, striped",clothes,12.50,images/0000007.jpg']
    lines += [f"{n:07d},Mug {n},kitchen,{n}.00,images/{n:07d}.jpg" for n in range(20, 19 + len(pictures))]
    for line, picture in zip(lines[1:], pictures, strict=True):
        shutil.copyfile(picture, folder / line.rsplit(",", 1)[1])
    (folder / "products.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages call path/to/coco, and path/to/yolo."""
    root = tmp_path_factory.mktemp("datasets")
    write_catalogue(root / "coco", items=60, seed=3)
    write_shop(root / "shop", sorted((root / "coco").rglob("*.jpg"))[:12])
    return root


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_run_as_printed(page: Path, datasets: Path, tmp_path: Path):
    shutil.copytree(datasets, tmp_path / "path" / "to")
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
        "DATUMARO_CLIP_CACHE": str(tmp_path / "cache"),
        "DATUMARO_CLIP_MODEL": "tiny",
        "HF_HUB_OFFLINE": "1",
    }
    for command in commands(page):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"


def test_python_of_the_readme_runs_as_printed(datasets: Path, tmp_path: Path):
    [source] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    shutil.copytree(datasets, tmp_path / "path" / "to")
    run_python(source, cwd=tmp_path, DATUMARO_CLIP_CACHE=str(tmp_path / "cache"))
    assert any((tmp_path / "unique").rglob("*.txt"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
