"""What the explorer shows in a real browser, on a screen of any kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from browsers import axe_findings
from datumaro.components.dataset import Dataset
from explored import Hosted, Page, keys_of, propose

from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.explorer import map as map_module
from datumaro_clip.vectors import ItemKey

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")
pytest.importorskip("fastapi", reason="needs the extra 'serve'")


def first_tiles(page: Page, count: int) -> list[str]:
    tiles = page.tab.locator(".tile")
    return [tiles.nth(place).get_attribute("aria-label") or "" for place in range(count)]


def test_a_store_too_large_to_be_mapped_at_once_says_how(
    browser: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An empty canvas is black, and covers the words."""
    monkeypatch.setattr(map_module, "MAPPED_AT_ONCE", 1)
    shutil.copytree(made / "store", tmp_path / "store")
    served = Hosted(tmp_path)
    try:
        page = Page(browser, served)
        page.tab.get_by_text("datum-clip map").wait_for()
        assert page.tab.locator(".map canvas").is_hidden()
        page.close()
    finally:
        served.kill()


def test_a_text_in_french_finds_its_pictures_and_is_in_the_address(browser: Any, shown: Hosted):
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


def test_a_dropped_picture_finds_itself(browser: Any, shown: Hosted, made: Path):
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


def test_two_stores_are_compared_and_switched_between(browser: Any, made: Path):
    keys = {f"{key.id}@{key.subset}" for key in keys_of(made / "store")[::2]}
    part = Dataset.import_from(str(made / "store"), "clip_mmap")
    part.select(lambda item: f"{item.id}@{item.subset}" in keys).export(str(made / "part"), "clip_mmap")
    served = Hosted(made, "compared", ("store", "part"))
    try:
        page = Page(browser, served, "/explore?room=compare")
        page.tab.get_by_label("Compare with").select_option("part")
        page.tab.get_by_text(f"part: {len(keys)}").wait_for()
        page.tab.locator(".card").nth(3).wait_for()
        page.tab.get_by_label("Store", exact=True).select_option("part")
        page.tab.wait_for_url("**/explore?store=part")
        page.tab.wait_for_selector(".tile img")
        sync_api.expect(page.tab.locator(".bar b")).to_have_text(f"{len(keys)} pictures")
        page.close()
    finally:
        served.kill()


@pytest.mark.parametrize("way", ["Slider", "Blink", "Difference"])
def test_a_pair_is_compared_in_each_way(browser: Any, shown: Hosted, made: Path, way: str):
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


def test_a_pair_of_which_one_picture_is_gone_says_so(browser: Any, shown: Hosted, made: Path):
    """An image without an address is a broken one, and asks the service for a page that is not there."""
    items = Dataset.import_from(str(made / "catalogue"), "coco")
    gone = next(ItemKey(item.id, item.subset) for item in items if not (item.media and item.media.has_data))
    path = propose(made / "shown-decisions", [[gone, next(key for key in keys_of(made / "store") if key != gone)]])
    page = Page(browser, shown)
    answers: list[int] = []
    page.tab.on("response", lambda answer: answers.append(answer.status))
    page.tab.get_by_role("button", name="Duplicates").click()
    page.tab.locator(".sides .broken").get_by_text("The picture cannot be shown").wait_for()
    page.tab.locator(".sides img").wait_for()
    assert page.tab.get_by_role("button", name="Slider").is_disabled()
    assert max(answers) < 400
    page.close()
    path.unlink()


def test_a_picture_without_a_place_has_no_ring_on_the_map(browser: Any, shown: Hosted, made: Path):
    items = Dataset.import_from(str(made / "catalogue"), "coco")
    gone = next(item for item in items if not (item.media and item.media.has_data))
    page = Page(browser, shown)
    page.tab.locator(".tile").first.click()
    page.tab.locator(".focusRing").wait_for()
    page.tab.goto(f"{shown.address}/explore?focus={gone.id}@{gone.subset}")
    page.tab.locator(".detail").get_by_text(f"{gone.id} · {gone.subset}").wait_for()
    page.tab.locator(".mapLabel").first.wait_for()
    sync_api.expect(page.tab.locator(".focusRing")).to_have_count(0)
    page.close()


def test_what_is_only_similar_is_neither_a_leak_nor_a_conflict(browser: Any, shown: Hosted, made: Path):
    keys = keys_of(made / "store")
    pair = [next(key for key in keys if key.subset == subset) for subset in ("train", "val")]
    path = propose(made / "shown-decisions", [pair], "semantic_duplicate")
    page = Page(browser, shown, "/explore?room=duplicates")
    page.tab.get_by_role("button", name="leaks 0").wait_for()
    page.tab.locator(".card", has_text="What is at stake").get_by_text("train → val").wait_for()
    sync_api.expect(page.tab.locator(".card .warn")).to_have_count(0)
    propose(made / "shown-decisions", [pair])
    page.tab.reload()
    page.tab.get_by_role("button", name="leaks 1").wait_for()
    page.tab.locator(".card .warn", has_text="leak: one picture is in both train and val").wait_for()
    page.close()
    path.unlink()


def test_the_group_that_is_judged_is_in_view_in_a_long_list_and_the_last_is_reached(
    browser: Any, shown: Hosted, made: Path
):
    keys = keys_of(made / "store")
    path = propose(made / "shown-decisions", [keys[at : at + 2] for at in range(0, 80, 2)])
    page = Page(browser, shown, "/explore?room=duplicates")
    page.tab.wait_for_selector(".entry")
    for _ in range(30):
        page.tab.keyboard.press("j")
    page.tab.get_by_text("Group 31 of 40").wait_for()
    sync_api.expect(page.tab.locator(".entry[aria-current]")).to_be_in_viewport(ratio=0.95)
    page.tab.locator(".groups .scroll").evaluate("(node) => node.scrollTo(0, node.scrollHeight)")
    page.tab.locator(".groups li[aria-posinset='40'][aria-setsize='40'] .entry").click()
    page.tab.get_by_text("Group 40 of 40").wait_for()
    page.close()
    path.unlink()


@pytest.mark.parametrize("room", ["duplicates", "review"])
def test_a_room_does_not_say_that_nothing_waits_before_it_knows(browser: Any, shown: Hosted, room: str):
    page = Page(browser, shown)
    held: list[Any] = []
    page.tab.route("**/explore/api/proposals?**", lambda route: held.append(route))
    page.tab.goto(f"{shown.address}/explore?room={room}")
    page.tab.get_by_text("Loading store …").wait_for()
    sync_api.expect(page.tab.locator("main button")).to_have_count(0)
    held[0].continue_()
    page.tab.locator("main button.primary").wait_for()
    page.close()


@pytest.mark.parametrize("room", ["duplicates", "review"])
def test_the_bar_at_the_foot_of_a_phone_covers_no_button(browser: Any, shown: Hosted, made: Path, room: str):
    keys, folder = keys_of(made / "store"), made / "shown-decisions"
    paths = [propose(folder, [keys[:3]]), folder / "proposals-clip_outliers.jsonl"]
    told = tuple(Decision(key, "drop", "outlier") for key in keys[3:9])
    write_decisions(paths[1], DecisionLog("clip_outliers", {}, None, told))
    page = Page(browser, shown, f"/explore?room={room}", viewport={"width": 390, "height": 800})
    page.tab.wait_for_selector(".judge")
    foot, bar = (page.tab.locator(name).bounding_box() for name in (".judge", "nav.rooms"))
    assert foot["y"] + foot["height"] == pytest.approx(bar["y"], abs=1)
    page.close()
    for path in paths:
        path.unlink()


def test_a_map_of_objects_shows_each_in_its_picture(browser: Any, shown: Hosted):
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


def test_a_picture_is_seen_large_and_the_next_by_an_arrow(browser: Any, shown: Hosted):
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


def test_statistics_say_how_subsets_overlap_and_what_a_part_covers(browser: Any, shown: Hosted):
    page = Page(browser, shown)
    page.tab.locator(".facet input[type=checkbox]").first.check()
    page.tab.get_by_role("button", name="Statistics").click()
    page.tab.locator(".matrix tbody td").first.wait_for()
    page.tab.get_by_role("rowheader", name="as many at random").wait_for()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("room", ["explore", "duplicates", "review", "statistics", "compare"])
def test_no_room_is_wider_than_a_phone(browser: Any, shown: Hosted, room: str, scheme: str):
    found = Page(browser, shown, f"/explore?room={room}", viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert found.tab.evaluate("document.documentElement.scrollWidth") <= 390
    found.close()


def test_the_map_follows_the_system_into_the_dark(browser: Any, shown: Hosted):
    page = Page(browser, shown, color_scheme="light", bypass_csp=True)
    page.tab.wait_for_selector(".tile img")
    red = "document.querySelector('.map canvas').getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    page.tab.wait_for_function(f"{red} === 255")
    page.tab.emulate_media(color_scheme="dark")
    page.tab.wait_for_function(f"{red} === 22")
    page.close()


def test_nothing_moves_by_itself_where_less_motion_is_asked_for(browser: Any, shown: Hosted):
    page = Page(browser, shown, reduced_motion="reduce")
    moved = "getComputedStyle(document.querySelector('.rooms button')).transitionDuration"
    assert page.tab.evaluate(moved) == "0s"
    page.close()


@pytest.mark.parametrize(
    "screen",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_in_any_room(browser: Any, shown: Hosted, screen: dict[str, Any]):
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


def test_the_page_speaks_french(browser: Any, shown: Hosted):
    found = Page(browser, shown, locale="fr-FR")
    found.tab.get_by_role("button", name="Explorer").wait_for()
    found.tab.get_by_placeholder("Chercher par texte, ou déposer une image").wait_for()
    found.close()
