"""The report stands in one file, shows all that was decided, what matters first, and trusts no text."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import report_data

from datumaro_clip.curate.decisions import Decision, DecisionLog, Measure, read_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.report import page as page_module
from datumaro_clip.report import write_report
from datumaro_clip.report.page import Origin, command_line, join_modules, render
from datumaro_clip.report.plan import plan_report
from datumaro_clip.vectors import ItemKey

ORIGIN = Origin("datum transform -t clip_x", "path/to/pictures", datetime(2026, 3, 4, 5, 6, tzinfo=timezone.utc))


def key(n: int) -> ItemKey:
    return ItemKey(f"item-{n}", "train")


def log(*decisions: Decision, transform: str = "clip_clean", **fields: object) -> DecisionLog:
    return DecisionLog(transform, {"a": 1, "model": "tiny"}, "sha256:" + "0" * 64, decisions, **fields)


def html(made: DecisionLog, items: list[Item] | None = None, limit: int | None = None) -> str:
    return render(plan_report(made, limit), items or [], {}, {}, ORIGIN)


def test_nothing_decided_is_a_page_too(tmp_path: Path):
    write_report(tmp_path / "new", log(), [])
    assert "Nothing is broken in 0 items." in (tmp_path / "new/report.html").read_text()
    assert read_decisions(tmp_path / "new/decisions.jsonl") == log()


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ("clip_dedup", "No duplicates found in 1 items."),
        ("clip_search", "No picture is similar enough in 1 items."),
        ("clip_outliers", "No outliers and no wrong labels found in 1 items."),
    ],
)
def test_a_tool_that_found_nothing_says_so(transform: str, said: str):
    action = "drop" if transform == "clip_search" else "keep"
    reason = "no_hit" if transform == "clip_search" else ""
    assert said in html(log(Decision(key(1), action, reason), transform=transform))
    assert said not in html(log(Decision(key(1), "keep", "hit"), Decision(key(2), "drop", "x"), transform=transform))


def test_the_head_says_where_decisions_come_from():
    page = html(log(Decision(key(1), "drop", "blank")))
    for said in ("<h1>clip_clean</h1>", "path/to/pictures", "4 March 2026, 05:06 UTC", "<dd>tiny</dd>", ORIGIN.command):
        assert said in page
    assert "<dd>none was needed</dd>" in html(DecisionLog("clip_clean", {"model": "tiny"}, None, ()))


@pytest.mark.parametrize(
    ("options", "headline"),
    [
        ({"query": "a red <hat>"}, "<h1>“a red &lt;hat&gt;”</h1>"),
        ({"query": None, "image": "a.jpg"}, "<h1>Pictures like a.jpg</h1>"),
        ({"item": "7@val"}, "<h1>Pictures like 7@val</h1>"),
    ],
)
def test_what_was_searched_is_the_headline(options: dict, headline: str):
    assert headline in html(DecisionLog("clip_search", options, None, ()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ""),
        (["/usr/bin/pytest", "-q"], ""),
        (["/usr/bin/datum", "transform", "-t", "clip_x", "my files:coco"], "datum transform -t clip_x 'my files:coco'"),
        (["/site/datumaro_clip/cli/__main__.py", "search", "store"], "datum-clip search store"),
        (["C:/Scripts/datum-clip.exe", "demo"], "datum-clip demo"),
    ],
)  # fmt: skip
def test_the_command_can_be_run_again(arguments: list[str], told: str):
    assert command_line(arguments) == told


def test_the_dataset_is_the_folder_that_holds_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    items = [Item.of("a", tmp_path / "train" / "a.png"), Item.of("b", tmp_path / "val" / "b.png")]
    assert Origin.of(items).dataset == str(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert Origin.of(items).dataset == tmp_path.name
    assert Origin.of([Item.of("a", np.zeros((2, 2, 3), np.uint8))]).dataset == ""


def test_the_page_needs_no_network_and_trusts_no_text():
    evil = Decision(ItemKey('<img src=x onerror="1">', "s"), "drop", "bad", detail="</script><script>alert(1)</script>")
    page = html(
        log(evil, notes=("<b>",)), [Item.of(evil.key.id, subset="s", captions=["<!--<script>"], labels=["<i>"])]
    )
    told = re.sub(r"<script>.*</script>\n</body>", "", page, flags=re.S)
    assert told.count("<script") == 1
    assert "<img" not in told
    assert "<b>" not in told
    assert "http" not in told.replace("http-equiv", "")
    [card] = report_data(page)["cards"]
    assert (card["record"]["id"], card["captions"], card["labels"]) == (evil.key.id, ["<!--<script>"], ["<i>"])


def test_the_policy_allows_the_one_script_and_the_one_style():
    page = html(log())
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    [script] = re.findall(r"<script>(.*)</script>", page, re.S)
    [style] = re.findall(r"<style>(.*?)</style>", page, re.S)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["script-src"] == f"'{page_module._digest(script)}'"
    assert rules["style-src"] == f"'{page_module._digest(style)}'"
    assert "unsafe" not in policy


def test_names_that_are_no_text_are_written_and_read(tmp_path: Path):
    odd = Decision(ItemKey("caf\udce9", "s"), "drop", "bad")
    write_report(tmp_path, log(odd), [])
    [card] = report_data((tmp_path / "report.html").read_text(encoding="utf-8"))["cards"]
    assert card["record"]["id"] == "caf\udce9"


def test_all_is_in_it_unless_a_limit_is_given(tmp_path: Path):
    many = log(*(Decision(key(n), "keep") for n in range(500)), Decision(key(500), "drop", "blank"))
    page = html(many)
    assert (len(report_data(page)["cards"]), report_data(page)["leftOut"]) == (501, 0)
    few = report_data(html(many, limit=3))
    assert (len(few["cards"]), few["leftOut"], few["total"]) == (3, 498, 501)
    assert few["cards"][0]["record"]["reason"] == "blank"
    write_report(tmp_path, many, [], limit=3)
    assert read_decisions(tmp_path / "decisions.jsonl") == many


@pytest.mark.parametrize("others", ["drop", "mark", "move"])
def test_what_was_picked_comes_before_the_many_others(others: str):
    decisions = [Decision(key(n), others, "not_picked") for n in range(9)]
    plan = plan_report(log(*decisions, Decision(key(9), "keep", "picked"), Decision(key(10), "keep", "start")))
    assert plan.decisions[0].reason == "picked"


def test_hits_come_in_their_order_and_what_was_not_asked_for_is_no_loss():
    hits = [Decision(key(n), "keep", "hit", 0.5, rank=2 - n) for n in range(3)]
    plan = plan_report(log(Decision(key(9), "drop", "no_hit"), *hits, transform="clip_search"))
    assert [one.rank for one in plan.decisions] == [0, 1, 2, None]
    assert plan.selects
    assert not plan_report(log()).selects


def test_groups_stand_together_behind_the_one_that_stays():
    decisions = []
    for group, size in enumerate((1, 3, 2)):
        copies = [
            Decision(key(10 * group + n), "drop", "near_duplicate", 2.0, 3.0, group, key(10 * group + 5))
            for n in range(size)
        ]
        decisions += [*copies, Decision(key(10 * group + 5), "keep", "representative", group=group)]
    shown = plan_report(log(Decision(key(99), "keep"), *decisions, transform="clip_dedup")).decisions
    assert [one.group for one in shown] == [1] * 4 + [2] * 3 + [0] * 2 + [None]
    assert [one.reason == "representative" for one in shown] == [
        True,
        *[False] * 3,
        True,
        *[False] * 2,
        True,
        False,
        False,
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["keep", "drop", "mark"]), st.none() | st.integers(0, 3), st.none() | st.floats(0, 1))
    )
)
def test_every_decision_is_shown_once(told: list[tuple[str, int | None, float | None]]):
    plan = plan_report(
        log(*(Decision(key(n), action, "x", score, group=group) for n, (action, group, score) in enumerate(told)))
    )
    assert sorted(plan.shown) == list(range(len(told)))


def test_pictures_share_what_a_page_may_weigh_and_what_was_found_gets_more():
    few = plan_report(log(Decision(key(1), "drop", "blank"))).pictures()
    assert set(few.values()) == {24_000}
    found = [Decision(key(n), "drop", "blank") for n in range(100)]
    many = plan_report(log(*found, *(Decision(key(n), "keep") for n in range(100, 20_000)))).pictures()
    assert sum(many.values()) <= 14_000_000
    limits = {one.key: limit for one, limit in many.items()}
    assert limits[key(0)] == pytest.approx(4 * limits[key(200)], rel=0.01)


def test_items_of_one_name_have_their_own_pictures(tmp_path: Path):
    pictures = [np.full((20, 20, 3), shade, np.uint8) for shade in (0, 255)]
    items = [Item.of("same", picture) for picture in pictures]
    twice = log(Decision(items[0].key, "keep"), Decision(items[0].key, "drop", "repeated_id", occurrence=1))
    write_report(tmp_path, twice, items)
    found = report_data((tmp_path / "report.html").read_text())
    assert sorted(card["picture"] for card in found["cards"]) == [0, 1]
    assert all(base64.b64decode(picture)[8:12] == b"WEBP" for picture in found["pictures"])


def test_a_picture_that_cannot_be_shown_says_why(tmp_path: Path):
    items = [Item.of("gone", tmp_path / "gone.png")]
    write_report(tmp_path, log(Decision(items[0].key, "drop", "missing")), items)
    [card] = report_data((tmp_path / "report.html").read_text())["cards"]
    assert "gone.png" in card["failure"]
    assert "picture" not in card


@pytest.mark.parametrize(
    ("scores", "drawn"), [([], 0), ([0.5] * 30, 0), ([n / 30 for n in range(11)], 0), ([n / 30 for n in range(30)], 1)]
)
def test_scores_that_differ_are_drawn_with_their_threshold_and_title(scores: list[float], drawn: int):
    measure = Measure("likeness", tuple(s for s in scores if s >= 0.4), tuple(s for s in scores if s < 0.4), 0.4, 1.0)
    page = html(log(measures=(measure,)))
    assert page.count("threshold 0.4</text>") == drawn
    assert page.count(">likeness</text>") == drawn
    assert page.count(">count</text>") == drawn


def test_an_axis_ends_where_scores_can_end():
    scores = tuple(n / 40 for n in range(41))
    page = html(log(measures=(Measure("cosine similarity", scores, (), None, 1.0),)))
    ticks = [float(each) for each in re.findall(r'text-anchor="middle">(-?[\d.]+)</text>', page)]
    assert max(ticks) == 1.0
    edges = [float(each) for each in re.findall(r"to (-?[\d.]+)</title>", page)]
    assert max(edges) == 1.0


def test_a_threshold_that_limits_nothing_does_not_squeeze_the_scores():
    page = html(log(measures=(Measure("x", tuple(0.4 + n / 1000 for n in range(20)), (), -1.0, 1.0),)))
    assert "threshold -1</text>" not in page
    assert ">0.41</text>" in page


def test_modules_are_joined_each_once_behind_what_they_import(tmp_path: Path):
    (tmp_path / "a.js").write_text(
        'import { twice as two } from "./b.js";\nimport * as all from "./c.js";\nrun(two(all.one));\n'
    )
    (tmp_path / "b.js").write_text('import { one } from "./c.js";\nexport function twice(x) { return x + one; }\n')
    (tmp_path / "c.js").write_text("const a = 1;\nexport{a as one};\n")
    joined = join_modules(tmp_path / "a.js")
    assert joined.count("const a = 1;") == 1
    assert not re.search(r"^(import|export)", joined, re.M)
    assert joined.index("const a = 1;") < joined.index("function twice") < joined.index("run(two")
    assert "const { twice: two } = m1;" in joined
