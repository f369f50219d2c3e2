"""The explorer in a real browser, over a real service: what is clicked is what `decisions apply` does."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import axe_findings, opened_browser
from commands import BIN
from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions, read_exceptions, write_decisions
from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.explorer.map import MAPPED_AT_ONCE
from datumaro_clip.model.loading import load_model
from datumaro_clip.store import Header, create_store
from datumaro_clip.vectors import ItemKey, unit_rows

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")
pytest.importorskip("fastapi", reason="needs the extra 'serve'")

ITEMS = 90


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """The command as a person runs it; can be killed and started again."""

    def __init__(self, folder: Path, decisions: str = "store-decisions", sources: Sequence[str] = ("store",)) -> None:
        self.folder, self.decisions, self.sources, self.port = folder, decisions, sources, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [BIN / "datum-clip", "explore", *self.sources, "--media-root", "catalogue", "--no-browser"]
        command += ["--decisions", self.decisions, "--model", "tiny"]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command), "--port", str(self.port)],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.address}/readyz", timeout=5)
                return
            except OSError:
                assert self.process.poll() is None
        raise AssertionError("the service did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
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
def served(made: Path) -> Iterator[Served]:
    shutil.rmtree(made / "store-decisions", ignore_errors=True)
    found = Served(made)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def shown(made: Path) -> Iterator[Served]:
    """For what decides nothing."""
    found = Served(made, "shown-decisions")
    yield found
    found.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


class Page:
    """A tab, with what must never happen in one: a script's error, a request to anywhere else."""

    def __init__(self, browser: Any, served: Served, path: str = "/explore", **options: Any) -> None:
        self.served, self.errors = served, []
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", "accept_downloads": True, **options}
        )
        self.tab = self.context.new_page()
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("request", self._asked)
        self.tab.goto(served.address + path)
        self.tab.wait_for_selector(".room")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.served.address, "blob:", "data:")):
            self.errors.append(f"asked for {request.url}")

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Page]:
    found = Page(browser, served)
    found.tab.wait_for_selector(".tile img")
    yield found
    found.close()


def decided(page: Page, count: int) -> None:
    """Wait until the page says so many decisions."""
    word = {0: "No decisions yet", 1: "1 decision · Export"}.get(count, f"{count} decisions · Export")
    page.tab.get_by_role("button", name=word).wait_for()


def first_tiles(page: Page, count: int) -> list[str]:
    tiles = page.tab.locator(".tile")
    return [tiles.nth(place).get_attribute("aria-label") or "" for place in range(count)]


def test_a_store_too_large_to_be_mapped_at_once_says_how(browser: Any, tmp_path: Path):
    """An empty canvas is black, and covers the words."""
    tiny = load_model("tiny").space
    vectors = np.random.default_rng(0).standard_normal((MAPPED_AT_ONCE + 1, tiny.dimension), dtype=np.float32)
    with create_store(tmp_path / "store", "clip_mmap", Header(space=tiny)) as writer:
        writer.add_rows([ItemKey(str(number), "train") for number in range(len(vectors))], unit_rows(vectors))
    (tmp_path / "catalogue").mkdir()
    served = Served(tmp_path)
    try:
        page = Page(browser, served)
        page.tab.get_by_text("datum-clip map").wait_for()
        assert page.tab.locator(".map canvas").is_hidden()
        page.close()
    finally:
        served.kill()


def test_a_text_in_french_finds_its_pictures_and_is_in_the_address(browser: Any, shown: Served):
    page = Page(browser, shown)
    page.tab.fill("#search", "une grande lampe torche")
    page.tab.wait_for_selector(".tile .score")
    page.tab.locator(".tile").first.click()
    page.tab.get_by_text("rank 1 of").wait_for()
    assert "torch" in page.tab.locator(".detail").inner_text()
    assert "q=une+grande+lampe+torche" in page.tab.url
    again = Page(browser, page.served, page.tab.url.removeprefix(page.served.address))
    again.tab.wait_for_selector(".tile .score")
    assert first_tiles(again, 5) == first_tiles(page, 5)
    again.close()
    page.close()


def test_a_dropped_picture_finds_itself(browser: Any, shown: Served, made: Path):
    page = Page(browser, shown)
    page.tab.wait_for_selector(".tile img")
    store = {item.id: item for item in Dataset.import_from(str(made / "catalogue"), "coco")}
    name = first_tiles(page, 1)[0].split(",")[0]
    page.tab.set_input_files(".pick input", store[name].media.path)
    page.tab.wait_for_selector(".tile .score")
    best = first_tiles(page, 1)[0]
    assert best.startswith(name)
    assert float(best.rsplit(", ", 1)[1]) > 0.99
    page.close()


def test_a_lasso_is_tagged_exported_and_taken_back(page: Page, made: Path):
    page.tab.get_by_role("button", name="Select with a lasso").click()
    box = page.tab.locator(".map canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.tab.mouse.move(middle[0] - 150, middle[1] - 90)
    page.tab.mouse.down()
    for dx, dy in ((150, -90), (150, 90), (-150, 90), (-150, -90)):
        page.tab.mouse.move(middle[0] + dx, middle[1] + dy, steps=4)
    page.tab.mouse.up()
    page.tab.wait_for_selector(".actions")
    selected = int(page.tab.locator(".actions b").inner_text().split()[0])
    assert 0 < selected < ITEMS
    assert "region=" in page.tab.url
    page.tab.keyboard.press("t")
    page.tab.get_by_label("Name of the tag").fill("middle")
    page.tab.get_by_role("button", name=f"Tag {selected}", exact=True).click()
    decided(page, selected)
    page.tab.get_by_role("button", name=f"{selected} decisions").click()
    page.tab.locator("dialog select").first.select_option("selection")
    with page.tab.expect_download() as download:
        page.tab.get_by_role("link", name=f"Download ids of {selected}").click()
    ids = Path(download.value.path()).read_text().split()
    assert len(ids) == selected
    page.tab.get_by_label("Format").fill("coco")
    page.tab.get_by_label("New folder").fill("middle")
    page.tab.get_by_role("button", name=f"Write {selected} items").click()
    page.tab.get_by_text("Written to").wait_for()
    exported = Dataset.import_from(str(made / "store-decisions" / "exports" / "middle"), "coco")
    assert {f"{item.id}@{item.subset}" for item in exported} == set(ids)
    page.tab.keyboard.press("u")
    decided(page, 0)


def test_duplicates_are_judged_and_applied_exactly(page: Page, made: Path):
    page.tab.get_by_role("button", name="Duplicates").click()
    page.tab.get_by_role("button", name="Find duplicates").click()
    page.tab.wait_for_selector(".entry", timeout=120_000)
    groups = page.tab.locator(".entry").count()
    assert groups >= 3
    # The first is refused; of the second the other one is kept; the third is accepted.
    kept_names = page.tab.locator("figcaption b")
    refused = [kept_names.nth(place).inner_text() for place in (0, 1)]
    page.tab.keyboard.press("n")
    page.tab.wait_for_selector("li:nth-child(2) > .entry[aria-current]")
    proposed, other = (kept_names.nth(place).inner_text() for place in (0, 1))
    page.tab.get_by_role("button", name="Keep this instead").click()
    sync_api.expect(kept_names.first).to_have_text(other)
    page.tab.keyboard.press("j")
    page.tab.wait_for_selector("li:nth-child(3) > .entry[aria-current]")
    stays, goes = (kept_names.nth(place).inner_text() for place in (0, 1))
    page.tab.keyboard.press("a")
    sync_api.expect(page.tab.locator("li:nth-child(3) > .entry > span").last).to_have_text("✓")
    folder = made / "store-decisions"
    log = read_decisions(folder / "decisions.jsonl")
    assert {one.key.id for one in log.decisions if one.action == "drop"} == {proposed, goes}
    assert {key.id for key in read_exceptions(folder / "except.txt")} == {*refused, other, stays}
    applied = made / "applied"
    shutil.rmtree(applied, ignore_errors=True)
    subprocess.run(
        [BIN / "datum-clip", "decisions", "apply", folder / "decisions.jsonl", "store:clip_mmap", "-o", applied],
        cwd=made,
        check=True,
        capture_output=True,
    )
    before = {(item.id, item.subset) for item in Dataset.import_from(str(made / "store"), "clip_mmap")}
    after = {(item.id, item.subset) for item in Dataset.import_from(str(applied), "clip_mmap")}
    assert {id for id, _ in before - after} == {proposed, goes}


def test_a_group_is_split_into_two_that_are_judged_by_themselves(page: Page, made: Path):
    """Five pictures are proposed as one group; two of them are taken for a group of their own."""
    keys, folder = keys_of(made / "store")[:5], made / "store-decisions"
    propose(folder, [keys])
    page.tab.goto(f"{page.served.address}/explore?room=duplicates")
    page.tab.wait_for_selector(".members")
    for key in keys[3:]:
        page.tab.get_by_label(f"Take {key.id} out of the group").check()
    page.tab.get_by_role("button", name="Split 2 off as a group").click()
    sync_api.expect(page.tab.locator(".entry")).to_have_count(2)
    page.tab.locator(".entry").nth(1).click()
    shown = page.tab.locator("figcaption b")
    assert {shown.nth(place).inner_text() for place in (0, 1)} == {key.id for key in keys[3:]}
    stays, goes = (shown.nth(place).inner_text() for place in (0, 1))
    page.tab.keyboard.press("a")
    decided(page, 2)
    log = read_decisions(folder / "decisions.jsonl")
    assert {(one.key.id, one.action) for one in log.decisions} == {(stays, "keep"), (goes, "drop")}
    page.tab.reload()
    page.tab.wait_for_selector(".entry")
    sync_api.expect(page.tab.locator(".entry")).to_have_count(2)
    page.tab.keyboard.press("u")
    decided(page, 0)
    sync_api.expect(page.tab.locator(".entry")).to_have_count(2)
    page.tab.keyboard.press("u")
    sync_api.expect(page.tab.locator(".entry")).to_have_count(1)


def propose(folder: Path, groups: list[list[ItemKey]]) -> Path:
    """Write down groups of near copies as the tool does; the first of each stays."""
    told: list[Decision] = []
    for number, (keeper, *others) in enumerate(groups):
        told.append(Decision(keeper, "keep", group=number))
        told += [Decision(key, "drop", "near_duplicate", group=number, representative=keeper) for key in others]
    folder.mkdir(exist_ok=True)
    path = folder / "proposals-clip_dedup.jsonl"
    write_decisions(path, DecisionLog("clip_dedup", {}, None, tuple(told)))
    return path


@pytest.mark.parametrize(
    ("tool", "fields", "proposed"),
    [
        ("clip_outliers", {}, "drop"),
        ("clip_align", {"keep top": "0.9"}, "drop"),
        ("clip_classify", {}, "label"),
        ("clip_sample", {"count": "85"}, "drop"),
    ],
)
def test_each_tool_is_run_from_the_page_and_its_proposals_judged_by_keyboard(
    page: Page, made: Path, tool: str, fields: dict[str, str], proposed: str
):
    """The first is accepted, the second refused, the third skipped, the fourth accepted and taken back."""
    page.tab.get_by_role("button", name="Review").click()
    page.tab.get_by_role("button", name="Run a tool").click()
    page.tab.locator("dialog select").first.select_option(tool)
    for name, value in fields.items():
        page.tab.locator("dialog label", has_text=name).locator("input").first.fill(value)
    page.tab.get_by_role("button", name="Run", exact=True).click()
    page.tab.wait_for_selector(".proposal", timeout=120_000)
    subjects = []
    for number, key in enumerate("ansa", start=1):
        page.tab.get_by_text(f"Proposal {number} of").wait_for()
        subjects.append(page.tab.locator(".proposal dd").first.inner_text().replace(" · ", "@"))
        page.tab.keyboard.press(key)
    decided(page, 3)
    page.tab.keyboard.press("u")
    decided(page, 2)
    log = read_decisions(made / "store-decisions" / "decisions.jsonl")
    told = {f"{one.key.id}@{one.key.subset}": one.action for one in log.decisions}
    assert told == {subjects[0]: proposed, subjects[1]: "keep"}


def test_what_is_left_of_one_reason_is_accepted_at_once(page: Page, made: Path):
    folder, keys = made / "store-decisions", keys_of(made / "store")
    told = [Decision(key, "drop", "outlier" if n < 5 else "wrong_label") for n, key in enumerate(keys[:8])]
    folder.mkdir(exist_ok=True)
    write_decisions(folder / "proposals-clip_outliers.jsonl", DecisionLog("clip_outliers", {}, None, tuple(told)))
    page.tab.goto(f"{page.served.address}/explore?room=review")
    page.tab.get_by_role("button", name="clip_outliers: outlier 5").click()
    page.tab.keyboard.press("n")
    page.tab.get_by_role("button", name="Accept the 4 left").click()
    decided(page, 5)
    page.tab.get_by_text("All is reviewed.").wait_for()
    log = read_decisions(folder / "decisions.jsonl")
    assert {one.key for one in log.decisions if one.action == "drop"} == set(keys[1:5])
    page.tab.keyboard.press("u")
    decided(page, 1)


def test_two_stores_are_compared_and_switched_between(browser: Any, made: Path):
    keys = {f"{key.id}@{key.subset}" for key in keys_of(made / "store")[::2]}
    part = Dataset.import_from(str(made / "store"), "clip_mmap")
    part.select(lambda item: f"{item.id}@{item.subset}" in keys).export(str(made / "part"), "clip_mmap")
    served = Served(made, "compared", ("store", "part"))
    try:
        page = Page(browser, served, "/explore?room=compare")
        page.tab.get_by_label("Compare with").select_option("part")
        page.tab.get_by_text(f"part: {len(keys)}").wait_for()
        assert page.tab.locator(".card").count() > 3
        page.tab.get_by_label("Store", exact=True).select_option("part")
        page.tab.wait_for_url("**/explore?store=part")
        page.tab.wait_for_selector(".tile img")
        sync_api.expect(page.tab.locator(".bar b")).to_have_text(f"{len(keys)} pictures")
        page.close()
    finally:
        served.kill()


def test_the_five_minutes_end_in_a_dataset_without_the_copies(browser: Any, made: Path, tmp_path: Path):
    """A dataset is explored, every group accepted, and the command that the page shows is run as it is shown."""
    shutil.copytree(made / "catalogue", tmp_path / "catalogue")
    served = Served(tmp_path, "catalogue-decisions", ("catalogue:coco",))
    try:
        page = Page(browser, served)
        page.tab.get_by_role("button", name="Duplicates").click()
        page.tab.get_by_role("button", name="Find duplicates").click()
        page.tab.wait_for_selector(".entry", timeout=120_000)
        groups = page.tab.locator(".entry").count()
        for number in range(1, groups + 1):
            page.tab.keyboard.press("a")
            page.tab.get_by_text(f"{number} reviewed").first.wait_for()
        page.tab.get_by_role("button", name="· Export").click()
        command = shlex.split(page.tab.locator(".command code").inner_text())
        page.close()
    finally:
        served.kill()
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=tmp_path, check=True, capture_output=True, text=True)
    dropped = sum(one.action == "drop" for one in read_decisions(tmp_path / command[3]).decisions)
    assert dropped >= groups >= 3
    assert f"{ITEMS - dropped} items written to curated" in done.stdout
    curated = Dataset.import_from(str(tmp_path / "curated"), "coco")
    assert len(curated) == ITEMS - dropped
    assert sum(item.media is not None and item.media.has_data for item in curated) > ITEMS - dropped - 10


def keys_of(store: Path) -> list[ItemKey]:
    return [ItemKey(item.id, item.subset) for item in Dataset.import_from(str(store), "clip_mmap")]


def test_keys_may_be_pressed_faster_than_the_journal_is_written(page: Page, made: Path):
    keys = keys_of(made / "store")
    propose(made / "store-decisions", [keys[at : at + 2] for at in range(0, 10, 2)])
    page.tab.goto(f"{page.served.address}/explore?room=duplicates")
    page.tab.wait_for_selector(".sides")
    for key in "annaa":
        page.tab.keyboard.press(key)
    decided(page, 10)
    dropped = {
        one.key
        for one in read_decisions(made / "store-decisions" / "decisions.jsonl").decisions
        if one.action == "drop"
    }
    assert dropped == {keys[1], keys[7], keys[9]}
    sync_api.expect(page.tab.locator(".notice.wrong")).to_have_count(0)


@pytest.mark.parametrize("way", ["Slider", "Blink", "Difference"])
def test_a_pair_is_compared_in_each_way(browser: Any, shown: Served, made: Path, way: str):
    keys = keys_of(made / "store")[:2]
    path = propose(made / "shown-decisions", [keys])
    page = Page(browser, shown, "/explore?room=duplicates")
    page.tab.wait_for_selector(".sides canvas")
    page.tab.get_by_role("button", name=way, exact=True).click()
    if way == "Slider":
        page.tab.get_by_role("slider").fill("20")
        assert (
            page.tab.locator(".overlay img").nth(1).evaluate("(node) => node.style.clipPath")
            == "inset(0px 0px 0px 20%)"
        )
    elif way == "Blink":
        page.tab.locator(".overlay p", has_text=keys[0].id).wait_for()
        page.tab.locator(".overlay p", has_text=keys[1].id).wait_for()
    else:
        page.tab.get_by_text("Mean difference").wait_for()
        painted = "(node) => new Set(node.getContext('2d').getImageData(0, 0, node.width, node.height).data).size"
        assert page.tab.locator(".sides canvas").evaluate(painted) > 10
    page.close()
    path.unlink()


def test_a_map_of_objects_shows_each_in_its_picture(browser: Any, shown: Served):
    page = Page(browser, shown)
    page.tab.locator(".topLeft select").first.select_option("objects")
    page.tab.get_by_text("objects ·").wait_for()
    assert "map=objects" in page.tab.url
    box = page.tab.locator(".map canvas").bounding_box()
    page.tab.get_by_role("button", name="Select a rectangle").click()
    page.tab.mouse.move(box["x"] + 5, box["y"] + 5)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=3)
    page.tab.mouse.up()
    page.tab.wait_for_selector(".actions")
    with_boxes = page.tab.evaluate(
        """async () => { const main = document.querySelector("script[type=module]").src;
        const { data } = await import(new URL("state.js", main));
        return new Set(data.planes.objects.rows).size; }"""
    )
    assert int(page.tab.locator(".actions b").inner_text().split()[0]) == with_boxes
    again = Page(browser, shown, page.tab.url.removeprefix(shown.address))
    again.tab.get_by_text("objects ·").wait_for()
    sync_api.expect(again.tab.locator(".bar b")).to_have_text(f"{with_boxes} pictures")
    again.close()
    page.close()


def test_a_picture_is_seen_large_and_the_next_by_an_arrow(browser: Any, shown: Served):
    page = Page(browser, shown)
    page.tab.wait_for_selector(".tile img")
    first, second = (name.split(",")[0] for name in first_tiles(page, 2))
    page.tab.locator(".tile").first.click()
    page.tab.keyboard.press("Enter")
    page.tab.locator("dialog h1", has_text=first).wait_for()
    page.tab.keyboard.press("+")
    assert page.tab.locator(".stage").evaluate("(node) => node.style.transform").endswith("scale(1.5)")
    page.tab.keyboard.press("ArrowRight")
    page.tab.locator("dialog h1", has_text=second).wait_for()
    assert page.tab.locator(".stage").evaluate("(node) => node.style.transform").endswith("scale(1)")
    page.tab.keyboard.press("Escape")
    sync_api.expect(page.tab.locator("dialog")).to_have_count(0)
    page.close()


def test_statistics_say_how_subsets_overlap_and_what_a_part_covers(browser: Any, shown: Served):
    page = Page(browser, shown)
    page.tab.locator(".facet input[type=checkbox]").first.check()
    page.tab.get_by_role("button", name="Statistics").click()
    page.tab.locator(".matrix tbody td").first.wait_for()
    page.tab.get_by_role("rowheader", name="as many at random").wait_for()
    page.close()


def test_no_click_is_lost_when_the_service_is_killed(page: Page):
    page.tab.locator(".tile").first.click()
    page.tab.keyboard.press("x")
    decided(page, 1)
    page.served.kill()
    page.tab.fill("#search", "a lamp")
    page.tab.get_by_text("The service does not answer").wait_for()
    assert page.tab.input_value("#search") == "a lamp"
    page.served.start()
    page.tab.wait_for_selector(".tile .score", timeout=60_000)
    page.tab.reload()
    decided(page, 1)


def test_the_second_of_two_tabs_is_told_and_overwrites_nothing(page: Page, browser: Any):
    other = Page(browser, page.served)
    other.tab.wait_for_selector(".tile img")
    page.tab.locator(".tile").nth(0).click()
    page.tab.keyboard.press("x")
    decided(page, 1)
    other.tab.locator(".tile").nth(1).click()
    other.tab.keyboard.press("k")
    other.tab.get_by_text("Somebody else has decided meanwhile").wait_for()
    decided(other, 1)
    other.tab.keyboard.press("k")
    decided(other, 2)
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("room", ["explore", "duplicates", "review", "statistics", "compare"])
def test_no_room_is_wider_than_a_phone(browser: Any, shown: Served, room: str, scheme: str):
    found = Page(browser, shown, f"/explore?room={room}", viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert found.tab.evaluate("document.documentElement.scrollWidth") <= 390
    found.close()


def test_the_map_follows_the_system_into_the_dark(browser: Any, shown: Served):
    page = Page(browser, shown, color_scheme="light", bypass_csp=True)
    page.tab.wait_for_selector(".tile img")
    red = "document.querySelector('.map canvas').getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    page.tab.wait_for_function(f"{red} === 255")
    page.tab.emulate_media(color_scheme="dark")
    page.tab.wait_for_function(f"{red} === 22")
    page.close()


def test_nothing_moves_by_itself_where_less_motion_is_asked_for(browser: Any, shown: Served):
    page = Page(browser, shown, reduced_motion="reduce")
    moved = "getComputedStyle(document.querySelector('.rooms button')).transitionDuration"
    assert page.tab.evaluate(moved) == "0s"
    page.close()


@pytest.mark.parametrize(
    "screen",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_in_any_room(browser: Any, shown: Served, screen: dict[str, Any]):
    page = Page(browser, shown, bypass_csp=True, **screen)
    page.tab.wait_for_selector(".tile img")

    assert axe_findings(page.tab) == []
    page.tab.fill("#search", "a lamp")
    page.tab.wait_for_selector(".tile .score")
    page.tab.locator(".tile").first.click()
    page.tab.wait_for_selector(".detail h2")
    assert axe_findings(page.tab) == []
    for key in ("?", "Enter"):
        page.tab.keyboard.press(key)
        page.tab.wait_for_selector("dialog")
        assert axe_findings(page.tab) == []
        page.tab.keyboard.press("Escape")
        sync_api.expect(page.tab.locator("dialog")).to_have_count(0)
    for room in ("Duplicates", "Review", "Statistics", "Compare"):
        page.tab.get_by_role("button", name=room).click()
        page.tab.wait_for_selector("main.room")
        assert axe_findings(page.tab) == [], room
    page.close()


def test_the_page_speaks_french(browser: Any, shown: Served):
    found = Page(browser, shown, locale="fr-FR")
    found.tab.get_by_role("button", name="Explorer").wait_for()
    found.tab.get_by_placeholder("Chercher par texte, ou déposer une image").wait_for()
    found.close()
