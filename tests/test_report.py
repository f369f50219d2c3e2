"""The report opens by itself, shows what matters, and stays small."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.report import plan_report, thumbnails_of, write_report
from datumaro_clip.report.page import render
from datumaro_clip.report.plan import GROUP_MEMBERS, GROUPS, TILES
from datumaro_clip.vectors import ItemKey


def key(n: int) -> ItemKey:
    return ItemKey(f"item-{n}", "train")


def log(*decisions: Decision, notes: tuple[str, ...] = ()) -> DecisionLog:
    return DecisionLog("clip_x", {"a": 1}, "sha256:" + "0" * 64, decisions, notes)


def test_nothing_decided_is_a_page_too(tmp_path: Path):
    write_report(tmp_path / "new", plan_report(log()), {})
    assert "0 items" in (tmp_path / "new/report.html").read_text()
    assert read_decisions(tmp_path / "new/decisions.jsonl") == log()


def test_the_page_needs_no_network_and_trusts_no_text():
    evil = Decision(ItemKey('<img src=x onerror="1">', "s"), "drop", "bad", detail="<script>alert(1)</script>")
    page = render(plan_report(log(evil, notes=("<b>",))), {(evil.key, None): b"jpeg"})
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert 'src="data:image/jpeg;base64,' in page
    assert "default-src 'none'" in page


def test_a_dropped_caption_is_shown_and_trusted_no_more():
    weak = Decision(key(1), "drop", "mismatch", 0.1, 0.5, annotation=0, text="a <i>red</i> hat")
    page = render(plan_report(log(Decision(key(1), "keep"), weak)), {})
    assert "<q>a &lt;i&gt;red&lt;/i&gt; hat</q>" in page
    assert "<b>1</b> annotation dropped" in page
    assert "<b>1</b> item kept" in page
    assert "threshold 0.5" in page


def test_a_threshold_that_limits_nothing_does_not_squeeze_the_scores():
    hits = [Decision(key(n), "keep", "hit", 0.4 + n / 1000, -1.0) for n in range(20)]
    page = render(plan_report(log(*hits)), {})
    assert "threshold -1</text>" not in page
    assert ">0.4</text>" in page


@pytest.mark.parametrize("others", ["drop", "mark", "move"])
def test_what_was_picked_comes_before_the_many_others(others: str):
    decisions = [Decision(key(n), others, "not_picked") for n in range(9)]
    plan = plan_report(log(*decisions, Decision(key(9), "keep", "picked"), Decision(key(10), "keep", "start")))
    assert [section.reason for section in plan.sections] == ["picked", "not_picked", "start"]
    assert [reason for _, reason, _ in plan.counts] == ["picked", "not_picked", "start"]


def test_ten_thousand_items_make_a_short_page():
    many = [Decision(key(n), "drop", f"reason_{n % 3}", score=n / 1e4, threshold=0.5) for n in range(10_000)]
    plan = plan_report(log(*many))
    assert len(plan.subjects()) == 3 * TILES
    page = render(plan, {})
    assert len(page) < 300_000
    assert "and 3,274 more items" in page


def test_groups_show_their_keeper_and_are_capped():
    decisions = []
    for group in range(GROUPS + 5):
        decisions.append(Decision(key(100 * group), "keep", "representative", group=group))
        decisions += [
            Decision(key(100 * group + n), "drop", "near_duplicate", 2.0, 0.0, group, key(100 * group))
            for n in range(1, 2 + (GROUP_MEMBERS + 3) * (group == 7))
        ]
    plan = plan_report(log(*decisions))
    assert plan.groups[0].number == 7
    assert (len(plan.groups), plan.groups_left_out, plan.groups[0].left_out) == (GROUPS, 5, 4)
    page = render(plan, {})
    assert page.count('class="keeper"') == GROUPS
    assert "and 5 more groups" in page


@pytest.mark.parametrize(("scores", "drawn"), [([], 0), ([0.5] * 30, 0), ([n / 30 for n in range(30)], 1)])
def test_scores_that_differ_are_drawn_with_their_threshold(scores: list[float], drawn: int):
    plan = plan_report(
        log(*(Decision(key(n), "keep" if s >= 0.4 else "drop", "x", s, 0.4) for n, s in enumerate(scores)))
    )
    assert len(plan.histograms) == drawn
    assert render(plan, {}).count("threshold 0.4</text>") == drawn


def test_a_look_alike_shows_both_places_enlarged_beside_its_picture():
    """The changed place of a picture of 400 by 300 pixels, and the same of the one that it looks like."""
    pictures = [np.full((300, 400, 3), 200, np.uint8) for _ in range(2)]
    pictures[1][100:110, 200:210] = 20
    items = [Item.of(str(n), picture) for n, picture in enumerate(pictures)]
    places = (200, 100, 10, 10), (180, 90, 40, 30)
    one = Decision(items[1].key, "keep", "look_alike", 180.0, 9.0, resembles=items[0].key, places=places)
    plan = plan_report(log(Decision(items[0].key, "keep"), one))
    thumbnails = thumbnails_of(items, plan.subjects())
    enlarged = Image.open(io.BytesIO(thumbnails[items[1].key, places[0]]))
    assert enlarged.size == (240, 240)
    assert np.asarray(enlarged).max() < 40
    assert Image.open(io.BytesIO(thumbnails[items[0].key, places[1]])).size == (240, 180)
    page = render(plan, thumbnails)
    assert page.count("the place in ") == 2
    assert render(plan, {}).count("the place in ") == 0
