"""Relevance is counted: what 40 English and 40 French queries find on the drawn catalogue, by every way to ask."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from served import client_of
from starlette.testclient import TestClient

from datumaro_clip import Encoder, cli, load_model, search
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.demo.catalogue.captions import LANGUAGES, describe
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES
from datumaro_clip.index import VectorIndex, open_index

K = 5
#: What each query asks for, in the words of the catalogue's captions: 20 kinds, 10 colours, 6 patterns, 4 backgrounds.
WANTED = [{name: value} for name in ("kind", "colour", "pattern", "background") for value in ATTRIBUTES[name]]


def queries(language: str) -> list[str]:
    """A text for each of ``WANTED``, with synonyms and openings as people vary them."""
    rng = random.Random(f"relevance/{language}")
    return [describe(wanted, language, rng) for wanted in WANTED]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """300 drawn items and their store, made by the command."""
    folder = tmp_path_factory.mktemp("relevance")
    write_catalogue(folder / "catalogue", items=300, seed=77)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATUMARO_CLIP_CACHE", str(folder / "cache"))
        patch.setenv("DATUMARO_CLIP_MODEL", "tiny")
        command = ["embed", f"{folder / 'catalogue'}:coco", "-o", str(folder / "store"), "-f", "clip_mmap"]
        assert cli.main([*command, "--show", "0", "-q"]) == 0
        yield folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_model("tiny")


@pytest.fixture(scope="module")
def client(catalogue: Path, encoder: Encoder) -> Iterator[TestClient]:
    with client_of({"store": catalogue / "store"}, encoder) as found:
        yield found


@pytest.fixture(scope="module")
def index(catalogue: Path) -> VectorIndex:
    return open_index(catalogue / "store")


def of_service(client: TestClient, text: str) -> list[tuple[str, float]]:
    hits = client.post("/search", json={"query": text, "top_k": K}).json()
    return [(hit["id"], hit["score"]) for hit in hits]


def of_command(store: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, float]]:
    capsys.readouterr()
    assert cli.main(["search", str(store), text, "-k", str(K), "--json", "-q"]) == 0
    hits = map(json.loads, capsys.readouterr().out.splitlines())
    return [(hit["id"], hit["score"]) for hit in hits]


def of_python(index: VectorIndex, encoder: Encoder, text: str) -> list[tuple[str, float]]:
    found = index.search(encoder.embed_texts([text]), K)
    key = index.snapshot.targets["pictures"].key
    return [(key(row).id, float(score)) for row, score in zip(found.rows[0], found.scores[0], strict=True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nine_of_ten_hits_show_what_was_asked_for(language: str, catalogue: Path, client: TestClient):
    """Mean precision at 5 through the service; an item shows what the catalogue says that it drew."""
    drawn: Mapping[str, Mapping[str, str]] = json.loads((catalogue / "catalogue/truth.json").read_text())["attributes"]
    right = [
        sum(drawn.get(id, {}).items() >= wanted.items() for id, _ in of_service(client, text)) / K
        for wanted, text in zip(WANTED, queries(language), strict=True)
    ]
    assert len(right) == 40
    assert sum(right) / len(right) >= 0.9


@pytest.mark.parametrize("language", LANGUAGES)
def test_service_command_and_python_find_the_same(
    language: str,
    catalogue: Path,
    client: TestClient,
    index: VectorIndex,
    encoder: Encoder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """The same items in the same order, with the same scores; two of the three round to six digits."""
    # The command loads its model anew each time, which is not the point here.
    monkeypatch.setattr(search, "load_model", functools.cache(search.load_model))
    for text in queries(language):
        ids, scores = zip(*of_service(client, text), strict=True)
        for found in (of_command(catalogue / "store", text, capsys), of_python(index, encoder, text)):
            assert tuple(id for id, _ in found) == ids
            assert [score for _, score in found] == pytest.approx(scores, abs=1.5e-6)
