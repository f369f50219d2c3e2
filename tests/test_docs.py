"""Every block of the documentation runs as printed, or says why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from commands import BIN, forked_programs

from datumaro_clip.demo.catalogue import write_catalogue

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
# Run by CI itself, or by a test of their own.
ELSEWHERE = (
    "make ",
    "bash .ci/run",
    "pip install ",
    "datum-clip demo",
    "datum-clip serve",
    "curl ",
    "python tools/train_tiny.py",
)
# What a line of a block that is neither console nor python must not begin with, unless a note says why it is not run.
RUNNABLE = re.compile(r"(\$ )?(datum|datum-clip|python3?|pip|make|curl|from \w[\w.]* import|import \w)\b")
PROGRAMS = ("jq",)


class Block(NamedTuple):
    """A block of code: its language, empty for what is indented; what it says; why it is not run, if a note says so."""

    language: str
    text: str
    note: str


def blocks(page: Path) -> Iterator[Block]:
    """The page's blocks, in order."""
    fence = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
    indented = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n|\n(?=    ))+)"
    note = r"(?: *<!-- not run: (?P<note>.+?) -->\n+)?"
    for found in re.finditer(f"{note}(?:{fence}|{indented})", page.read_text(encoding="utf-8") + "\n", re.M | re.S):
        yield Block(found["language"] or "", found["fenced"] or found["indented"] or "", found["note"] or "")


def commands(block: Block) -> list[str]:
    """The lines of a console block that begin with a prompt, and are run here."""
    lines = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


def runs(page: Path) -> bool:
    return any(block.language == "python" or commands(block) for block in blocks(page) if not block.note)


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
    """What the pages call path/to/coco, path/to/shop and path/to/photos; with the vectors of coco in a cache."""
    root = tmp_path_factory.mktemp("datasets")
    write_catalogue(root / "coco", items=40, seed=3)
    pictures = sorted((root / "coco").rglob("*.jpg"))
    write_shop(root / "shop", pictures[:12])
    (root / "photos").mkdir()
    for picture in pictures[:25]:
        shutil.copy(picture, root / "photos")
    return root


def run(command: str, folder: Path) -> None:
    env = {**os.environ, "PATH": os.pathsep.join([str(forked_programs()), str(BIN), os.environ["PATH"]])}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize("page", filter(runs, PAGES), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_run_as_printed(page: Path, datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(datasets, tmp_path / "path" / "to")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(datasets.parent / "cache"))  # of all pages, to save time
    monkeypatch.setenv("DATUMARO_CLIP_MODEL", "tiny")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names: dict[str, object] = {"__name__": "page"}
    missing, printed = set(), ""
    for block in blocks(page):
        if printed and not block.language:
            assert block.text.replace("\n    ", "\n").strip() == printed.strip()
        printed = ""
        if block.note:
            continue
        if block.language == "python":
            with redirect_stdout(StringIO()) as out:
                exec(compile(block.text, page.name, "exec"), names)
            printed = out.getvalue()
        for command in commands(block) if block.language == "console" else ():
            absent = {name for name in PROGRAMS if name in command.split() and shutil.which(name) is None}
            missing |= absent
            if not absent:
                run(command, ROOT if page.name == "CONTRIBUTING.md" else tmp_path)
    if missing:
        pytest.skip(f"needs {', '.join(sorted(missing))}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_could_be_run_is_run_or_says_why_not(page: Path):
    for block in blocks(page):
        is_code = any(RUNNABLE.match(line.strip()) for line in block.text.splitlines())
        assert block.language in ("console", "python") or block.note or not is_code, block.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_sites_table_of_contents():
    told = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES[2:] if f" {page.relative_to(DOCS).as_posix()}\n" not in told] == []
