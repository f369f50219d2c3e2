"""The report in a real browser, opened from the disk: what is clicked there is what the next run obeys."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import axe_findings, opened_browser
from commands import run_forked
from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import Decision, DecisionLog, Measure, read_decisions, read_exceptions
from datumaro_clip.curate.item import Item
from datumaro_clip.report import write_report
from datumaro_clip.vectors import ItemKey

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive a browser")

HOSTILE = (
    "<img src=x onerror=hacked()>",
    "</script><script>hacked()</script>",
    "<!--<script>",
    "${hacked()}`'\"",
    "javascript:hacked()",
    "\u202eevil\u2028line",
    "]]>&lt;b&gt;",
)

# Adds a script, and a picture from elsewhere with a handler; gives the rules of the policy that stop them.
LET_IN = """() => new Promise((resolve) => {
  const seen = [];
  document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
    if (seen.push(effectiveDirective) === 3) resolve(seen);
  });
  document.body.append(Object.assign(document.createElement("script"), { textContent: "hacked = 1" }));
  document.body.insertAdjacentHTML("beforeend", "<img src=https://example.invalid/x onerror='hacked = 2'>");
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as opened:
        yield opened


class Page:
    """A report from the disk, with what must never happen in one: an error, a request to anywhere, a refused rule."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.errors: list[str] = []
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", "accept_downloads": True, **options}
        )
        self.tab = self.context.new_page()
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        self.tab.on("request", self._asked)
        self.tab.goto(path.as_uri())
        self.tab.locator(".card").first.wait_for()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.errors.append(f"asked for {request.url}")

    def shown(self) -> list[str]:
        """The ids of the cards that are drawn, in order."""
        return self.tab.locator(".card .said b").all_inner_texts()

    def download(self, button: str) -> Path:
        with self.tab.expect_download() as download:
            self.tab.get_by_role("button", name=button).click()
        return Path(download.value.path())

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


def plain(n: int) -> np.ndarray:
    return np.full((60, 80, 3), 30 * n % 255, np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of forty items: three groups of duplicates, a look-alike, labels, scores, and what captions can say."""
    folder = tmp_path_factory.mktemp("drawn")
    labels = [["cat"], ["dog"], []]
    items = [
        Item.of(f"item-{n}", plain(n), subset=("train", "val")[n % 2], captions=[HOSTILE[n % 7]], labels=labels[n % 3])
        for n in range(40)
    ]
    keys = [item.key for item in items]
    decisions = [Decision(key, "keep") for key in keys]
    for group in range(3):
        keeper, *copies = keys[4 * group : 4 * group + 3]
        decisions[4 * group] = Decision(keeper, "keep", "representative", group=group)
        for n, copy in enumerate(copies, start=4 * group + 1):
            decisions[n] = Decision(copy, "drop", "near_duplicate", n / 10, 2.0, group, keeper, detail="a copy")
    places = (10, 10, 20, 20), (12, 12, 20, 20)
    decisions[20] = Decision(keys[20], "keep", "look_alike", 3.0, 2.0, resembles=keys[0], places=places)
    measure = Measure("difference", tuple(np.linspace(1, 2, 20)), tuple(np.linspace(0, 1, 20)), 1.0)
    made = DecisionLog("clip_dedup", {"model": "tiny"}, "sha256:0", tuple(decisions), ("a leak",), (measure,))
    write_report(folder, made, items)
    return folder / "report.html"


@pytest.fixture
def page(browser: Any, drawn: Path) -> Iterator[Page]:
    found = Page(browser, drawn)
    yield found
    found.close()


def test_two_groups_are_refused_and_the_next_run_obeys(browser: Any, shared: Path, tmp_path: Path):
    """The whole way: a tool, its report, two refusals by hand, the file by a real click, the tool again."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("100", "26", "52", "6"):
        for copy in ("", "_aug_1", "_aug_3"):
            shutil.copyfile(shared / "data" / "neardup" / "images" / f"{name}{copy}.jpg", photos / f"{name}{copy}.jpg")
    tool = ["datum", "transform", "-t", "clip_dedup", "-o"]
    first = run_forked(*tool, tmp_path / "one", "photos:image_dir", "--", "--no-vectors", "--report", "r", cwd=tmp_path)
    assert first.returncode == 0, first.stdout
    found = Page(browser, tmp_path / "r" / "report.html")
    assert "datum transform -t clip_dedup" in found.tab.locator("#command").inner_text()
    groups = found.tab.locator(".fates .dropped b").inner_text()
    assert int(groups) == 8
    refused = []
    for card in (1, 2, 4, 5):  # the copies of the first two groups
        refused.append(found.shown()[card])
        found.tab.locator(".card").nth(card).get_by_role("button", name="Keep").click()
    shutil.copyfile(found.download("Download exceptions (4)"), tmp_path / "except.txt")
    found.close()
    exceptions = read_exceptions(tmp_path / "except.txt")
    assert {str(one) for one in exceptions} == {f"{name}@default" for name in refused}
    options = ["--no-vectors", "--except", "except.txt", "--report", "r2"]
    again = run_forked(*tool, tmp_path / "two", "photos:image_dir", "--", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stdout
    kept = {item.id for item in Dataset.import_from(str(tmp_path / "two"), "image_dir")}
    before = {item.id for item in Dataset.import_from(str(tmp_path / "one"), "image_dir")}
    assert kept - before == set(refused)
    assert before <= kept


def test_the_keys_keep_drop_move_and_undo_and_decisions_apply(page: Page, drawn: Path, tmp_path: Path):
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("j")
    page.tab.keyboard.press("k")
    for key in ("ArrowLeft", "ArrowDown", "x", "j", "x", "u"):
        page.tab.keyboard.press(key)
    page.tab.get_by_text("1 kept, 1 dropped by you").wait_for()
    ids = page.shown()
    columns = page.tab.evaluate(
        "[...document.querySelectorAll('.card')].filter((card) => card.style.transform.endsWith(', 0px)')).length"
    )
    made, before = read_decisions(page.download("Download decisions")), read_decisions(drawn.parent / "decisions.jsonl")
    changed = {
        one.key.id: (one.action, one.reason)
        for one, other in zip(made.decisions, before.decisions, strict=True)
        if one != other
    }
    assert changed == {ids[1]: ("keep", "excepted"), ids[columns]: ("drop", "by_hand")}
    assert (made.transform, made.options, made.notes) == (before.transform, before.options, before.notes)


def test_choices_are_there_after_a_reload(page: Page):
    page.tab.locator(".card").nth(1).get_by_role("button", name="Keep").click()
    page.tab.reload()
    page.tab.get_by_role("button", name="Download exceptions (1)").wait_for()
    page.tab.keyboard.press("j")
    page.tab.keyboard.press("j")
    page.tab.keyboard.press("k")
    sync_api.expect(page.tab.get_by_role("button", name="Download exceptions")).to_be_disabled()


def test_a_group_that_would_lose_every_picture_is_told(page: Page):
    page.tab.locator(".card").nth(0).get_by_role("button", name="Drop").click()
    page.tab.get_by_text("1 group loses every picture").wait_for()
    page.tab.locator(".card").nth(1).locator(".picture").click()
    page.tab.get_by_role("button", name="Keep this instead").click()
    sync_api.expect(page.tab.get_by_text("1 group loses every picture")).to_have_count(0)


def test_cards_are_filtered_by_reason_subset_label_and_text_and_sorted_by_score(page: Page):
    page.tab.get_by_role("button", name=re.compile("near duplicate")).click()
    page.tab.get_by_text("6 of 40").wait_for()
    names = page.tab.locator(".card .said b")
    page.tab.get_by_label("Order").select_option("-score")
    sync_api.expect(names.first).to_have_text("item-10")
    page.tab.get_by_label("Order").select_option("score")
    sync_api.expect(names.first).to_have_text("item-1")
    page.tab.get_by_label("Subset").select_option(label="val (3)")
    sync_api.expect(names).to_have_text(["item-1", "item-5", "item-9"])
    page.tab.get_by_label("Label", exact=True).select_option(label="dog (1)")
    sync_api.expect(names).to_have_text(["item-1"])
    page.tab.get_by_role("button", name="Clear filters").click()
    page.tab.get_by_label("Search ids").fill("ITEM-3")
    page.tab.get_by_text("11 of 40").wait_for()
    page.tab.get_by_label("Search ids").fill("]]>&lt;")
    page.tab.get_by_text("5 of 40").wait_for()


def test_a_copy_is_enlarged_beside_what_stays_and_under_a_slider(page: Page):
    page.tab.locator(".card").nth(1).locator(".picture").click()
    dialog = page.tab.locator("dialog")
    sync_api.expect(dialog.locator("figcaption b")).to_have_text(["item-0", "item-1"])
    dialog.get_by_role("button", name="slider").click()
    dialog.get_by_label("Where the pictures meet").fill("20")
    sync_api.expect(dialog.locator(".overlay img").nth(1)).to_have_css("clip-path", re.compile("20%"))
    page.tab.locator("dialog h2").click()
    page.tab.keyboard.press("j")
    sync_api.expect(dialog.locator("h2")).to_have_text("item-2")
    page.tab.keyboard.press("k")
    sync_api.expect(dialog.get_by_role("button", name="✓ Keep")).to_have_attribute("aria-pressed", "true")
    page.tab.keyboard.press("Escape")
    sync_api.expect(dialog).to_have_count(0)
    page.tab.get_by_label("Search ids").fill("item-20")
    page.tab.locator(".card .picture").first.click()
    sync_api.expect(dialog.get_by_role("button", name="where they differ")).to_have_attribute("aria-pressed", "true")
    sync_api.expect(dialog.locator(".places figcaption b")).to_have_text(["item-0", "item-20"])
    shown = dialog.locator(".places img").evaluate_all("nodes => nodes.map(node => node.naturalWidth)")
    assert min(shown) > 0
    dialog.get_by_role("button", name="side by side").click()
    sync_api.expect(dialog.locator(".sides figcaption b")).to_have_text(["item-0", "item-20"])


def test_a_card_that_is_partly_out_of_view_opens_with_one_click(page: Page):
    """A page that scrolls while the mouse is down takes the click away."""
    card = page.tab.locator(".card").nth(1)
    top = card.evaluate("node => node.getBoundingClientRect().top + scrollY")
    page.tab.evaluate("top => scrollTo(0, top - innerHeight + 60)", top)
    box = card.bounding_box()
    page.tab.mouse.move(box["x"] + 40, box["y"] + 30)
    page.tab.mouse.down()
    page.tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.tab.mouse.up()
    sync_api.expect(page.tab.locator("dialog h2")).to_have_text("item-1")


def test_hostile_captions_are_words_and_no_other_script_runs(browser: Any, drawn: Path):
    page = Page(browser, drawn)
    for _ in range(12):
        page.tab.keyboard.press("ArrowDown")
    for text in HOSTILE:
        page.tab.get_by_label("Search ids").fill(text.splitlines()[0])
        page.tab.locator(".card .picture").first.click()
        sync_api.expect(page.tab.locator("dialog[open] dl")).to_contain_text(text.split("\u2028")[0])
        page.tab.keyboard.press("Escape")
    assert page.tab.evaluate("typeof hacked") == "undefined"
    assert page.tab.locator("[onerror]").count() == 0
    assert page.errors == []
    # What a bug would let in is stopped by the policy.
    stopped = page.tab.evaluate(LET_IN)
    assert sorted(stopped) == ["img-src", "script-src-attr", "script-src-elem"]
    assert page.tab.evaluate("typeof hacked") == "undefined"
    page.context.close()


def test_odd_ids_are_excepted_by_name(browser: Any, tmp_path: Path):
    """What a line of --except cannot hold as it is, it holds as JSON."""
    ids = ["# no comment", '{"id": 1}', " led by a space", "a\nb", "user@home", "caf\udce9", "\u200b", "plain"]
    subsets = ["default", "a@b", "x"]
    keys = [ItemKey(name, subset) for name in ids for subset in subsets]
    items = [Item.of(key.id, plain(n), subset=key.subset) for n, key in enumerate(keys)]
    write_report(
        tmp_path, DecisionLog("clip_clean", {}, None, tuple(Decision(key, "drop", "bad") for key in keys)), items
    )
    page = Page(browser, tmp_path / "report.html", viewport={"width": 1280, "height": 4000})
    for card in page.tab.locator(".card").all():
        card.get_by_role("button", name="Keep").click()
    path = page.download(f"Download exceptions ({len(keys)})")
    assert read_exceptions(path) == frozenset(keys)
    assert "plain@default" in path.read_text().splitlines()
    assert read_decisions(page.download("Download decisions")).keys_with("keep") == keys
    page.close()


def test_earlier_exceptions_stay_in_the_file(browser: Any, tmp_path: Path):
    """The next run reads the new file alone."""
    items = [Item.of(f"i{n}", plain(n)) for n in range(3)]
    decisions = [Decision(items[0].key, "keep", "excepted"), *(Decision(one.key, "drop", "bad") for one in items[1:])]
    write_report(tmp_path, DecisionLog("clip_clean", {}, None, tuple(decisions)), items)
    page = Page(browser, tmp_path / "report.html")
    page.tab.get_by_role("button", name="Download exceptions (1)").wait_for()
    page.tab.locator(".card").filter(has_text="i2").get_by_role("button", name="Keep").click()
    assert {key.id for key in read_exceptions(page.download("Download exceptions (2)"))} == {"i0", "i2"}
    page.close()


def test_what_was_not_asked_for_is_not_called_dropped(browser: Any, tmp_path: Path):
    items = [Item.of(f"i{n}", plain(n)) for n in range(5)]
    decisions = [
        Decision(items[0].key, "keep", "hit", 0.5, rank=0),
        *(Decision(one.key, "drop", "no_hit") for one in items[1:]),
    ]
    write_report(tmp_path, DecisionLog("clip_search", {"query": "a hat"}, "sha256:0", tuple(decisions)), items)
    page = Page(browser, tmp_path / "report.html")
    assert page.tab.locator("h1").inner_text() == "“a hat”"
    assert page.tab.locator(".fates h2").all_inner_texts() == ["1 Found", "4 Not chosen"]
    assert page.tab.locator(".dropped").count() == 0
    page.close()


def test_only_what_is_in_view_is_drawn(browser: Any, tmp_path: Path):
    items = [Item.of(f"i{n}", None) for n in range(3000)]
    write_report(
        tmp_path, DecisionLog("clip_clean", {}, None, tuple(Decision(one.key, "keep") for one in items)), items
    )
    page = Page(browser, tmp_path / "report.html")
    assert page.tab.locator(".card").count() < 120
    page.tab.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.tab.get_by_text("i2999", exact=True).wait_for()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, drawn: Path, scheme: str):
    page = Page(browser, drawn, color_scheme=scheme, bypass_csp=True)
    assert axe_findings(page.tab) == []
    page.tab.locator(".card").nth(1).get_by_role("button", name="Keep").click()
    page.tab.locator(".card").nth(2).get_by_role("button", name="Drop").click()
    page.tab.get_by_role("button", name=re.compile("near duplicate")).click()
    page.tab.get_by_role("button", name="Download decisions").click()
    assert axe_findings(page.tab) == []
    page.tab.locator(".card .picture").first.click()
    assert axe_findings(page.tab) == []
    page.tab.get_by_role("button", name="slider").click()
    assert axe_findings(page.tab) == []
    page.close()


@pytest.mark.parametrize("width", [320, 390])
def test_it_is_no_wider_than_a_phone(browser: Any, drawn: Path, width: int):
    page = Page(browser, drawn, viewport={"width": width, "height": 800})
    page.tab.locator(".card").nth(1).get_by_role("button", name="Keep").click()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    page.tab.locator(".card .picture").nth(1).click()
    assert page.tab.locator("dialog").evaluate("node => node.scrollWidth") <= width
    page.close()
