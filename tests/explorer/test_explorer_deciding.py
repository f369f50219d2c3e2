"""What is clicked in the explorer is what `decisions apply` does, whatever happens to service and tabs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import BIN
from datumaro.components.dataset import Dataset
from explored import ITEMS, Page, Served, keys_of, propose

from datumaro_clip.cli import main
from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions, read_exceptions, write_decisions

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")
pytest.importorskip("fastapi", reason="needs the extra 'serve'")


def decided(page: Page, count: int) -> None:
    """Wait until the page says so many decisions."""
    word = {0: "No decisions yet", 1: "1 decision · Export"}.get(count, f"{count} decisions · Export")
    page.tab.get_by_role("button", name=word).wait_for()


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
        page.tab.get_by_role("button", name=f"Download ids of {selected}").click()
    ids = Path(download.value.path()).read_text().split()
    assert len(ids) == selected
    page.tab.get_by_label("Format").fill("coco")
    page.tab.get_by_label("New folder").fill("middle")
    page.tab.get_by_role("button", name=f"Write {selected} items").click()
    page.tab.get_by_text("Written to").wait_for()
    exported = Dataset.import_from(str(made / "store-decisions" / "exports" / "middle"), "coco")
    assert {f"{item.id}@{item.subset}" for item in exported} == set(ids)
    page.tab.get_by_role("button", name=f"{selected} decisions").click()
    page.tab.get_by_label("Format").fill("coco")
    page.tab.get_by_label("New folder").fill("middle")
    page.tab.get_by_role("button", name=f"Write {ITEMS} items").click()
    page.tab.locator("dialog").get_by_text("there is a folder middle already").wait_for()
    page.tab.keyboard.press("Escape")
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
    source = f"{made / 'store'}:clip_mmap"
    assert main(["decisions", "apply", str(folder / "decisions.jsonl"), source, "-o", str(applied)]) == 0
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


def test_a_decision_that_takes_its_time_is_said_to_be_written(page: Page):
    """100,000 decisions take the service seconds."""
    held: list[Any] = []
    page.tab.route("**/explore/api/decisions?**", lambda route: held.append(route))
    page.tab.route("**/explore/api/decisions", lambda route: held.append(route))
    page.tab.get_by_role("button", name="Select all").click()
    page.tab.get_by_role("button", name=f"Drop {ITEMS}").click()
    page.tab.get_by_text("Writing …").wait_for()
    [asked] = held
    asked.continue_()
    decided(page, ITEMS)
    sync_api.expect(page.tab.get_by_text("Writing …")).to_have_count(0)


def test_no_click_is_lost_when_the_service_is_killed(browser: Any, made: Path):
    served = Served(made, "killed-decisions")
    page = Page(browser, served)
    page.tab.locator(".tile").first.click()
    page.tab.keyboard.press("x")
    decided(page, 1)
    served.kill()
    page.tab.fill("#search", "a lamp")
    page.tab.get_by_text("The service does not answer").wait_for()
    assert page.tab.input_value("#search") == "a lamp"
    served.start()
    page.tab.wait_for_selector(".tile .score", timeout=60_000)
    page.tab.reload()
    decided(page, 1)
    page.close()
    served.kill()


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
