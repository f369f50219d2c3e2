"""A drawn catalogue in the explorer, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import opened_browser
from datumaro.components.dataset import Dataset
from explored import ITEMS, Hosted, Page

from datumaro_clip.demo.catalogue import write_catalogue


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn catalogue and its store."""
    folder = tmp_path_factory.mktemp("explored")
    write_catalogue(folder / "catalogue", items=ITEMS, seed=0)
    dataset = Dataset.import_from(str(folder / "catalogue"), "coco")
    given = {"texts": "captions", "objects": True, "store": str(folder / "store"), "store_format": "clip_mmap"}
    dataset.transform("clip_embed", model="tiny", **given)
    assert len(dataset) == ITEMS
    return folder


@pytest.fixture
def served(made: Path) -> Iterator[Hosted]:
    shutil.rmtree(made / "store-decisions", ignore_errors=True)
    found = Hosted(made)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def shown(made: Path) -> Iterator[Hosted]:
    """For what decides nothing."""
    found = Hosted(made, "shown-decisions")
    yield found
    found.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, served: Hosted) -> Iterator[Page]:
    found = Page(browser, served)
    found.tab.wait_for_selector(".tile img")
    yield found
    found.close()
