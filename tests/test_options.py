"""Every option of every tool: what it refuses, what it changes, and how the command line, Python and JSON tell it."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from datumaro.components.annotation import Bbox, Caption, Label, Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pictures

from datumaro_clip.curate import integrity
from datumaro_clip.curate.run import options_of, read_values
from datumaro_clip.curate.tools import MODULES, Tool, tool_named
from datumaro_clip.errors import OptionError
from datumaro_clip.host.transform import transform_of
from datumaro_clip.options import (
    Choice,
    Flag,
    Kind,
    Number,
    Option,
    Several,
    Share,
    Text,
    Whole,
    add_options,
    read_options,
)

TOOLS = [tool_named(name) for name in MODULES]
# What a tool needs to be told before anything else can be.
ENOUGH = {"clip_sample": {"count": 3}, "clip_search": {"query": "a red hat"}}

# What the check of a text refuses, by the option's name.
WRONG = {
    "action": ("eat", "subset:"),
    "labels": ("", " "),
    "prompt": ("no place", "{} and {}"),
    "templates": ("a photo",),
}


def refused(kind: Kind, name: str) -> tuple[object, ...]:
    """Values that an option of a kind must refuse."""
    if isinstance(kind, Several):
        return (7, *([each] for each in refused(kind.of, name)))
    if isinstance(kind, Flag):
        return (1, "yes", None)
    if isinstance(kind, Choice):
        return ("none of them", 7, "")
    if isinstance(kind, Number):
        low, high, step = kind.at_least, kind.at_most, 1 if kind.whole else 0.001
        beyond = [] if low is None else [low if kind.above else low - step]
        beyond += [] if high is None else [high + step]
        return (math.nan, math.inf, -math.inf, "much", True, [1], *beyond, *([0.5] if kind.whole else []))
    is_checked = isinstance(kind, Text) and kind.check is not Text.check
    return (7, ["a"], *(WRONG[name] if is_checked else ()))


REFUSED = [
    (tool, option, value)
    for tool in TOOLS
    for option in options_of(tool)
    for value in refused(option.kind, option.name)
    if not (value is None and option.default is None)
]


class Untouched:
    """A dataset of which nothing may be read."""

    def __iter__(self):
        raise AssertionError("an item was read")

    def categories(self) -> dict:
        return {}


@pytest.mark.parametrize(
    ("tool", "option", "value"), REFUSED, ids=lambda each: getattr(each, "name", None) or repr(each)[:30]
)
def test_what_an_option_cannot_be_is_refused_before_an_item_is_read(tool: Tool, option: Option, value: object):
    given = {**ENOUGH.get(tool.name, {}), option.python_name: value}
    with pytest.raises(OptionError) as caught:
        list(transform_of(tool.name)(Untouched(), **given))
    assert str(caught.value).startswith(option.flag)
    assert str(caught.value).count("got ") == 1


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_number_refuses_what_is_not_finite(tool: Tool):
    """The table above is made of the kinds themselves: it must not be empty where it matters."""
    numbers = [option for option in options_of(tool) if isinstance(option.kind, Number)]
    for option in numbers:
        told = {repr(value) for each, one, value in REFUSED if each is tool and one is option}
        assert {"nan", "inf", "-inf", "'much'", "True"} <= told


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_an_unknown_option_is_refused(tool: Tool):
    with pytest.raises(OptionError, match=f"{tool.name} has no option colour"):
        read_values(tool, {**ENOUGH.get(tool.name, {}), "colour": 1})


@pytest.mark.parametrize("tool", [*TOOLS, integrity], ids=lambda tool: getattr(tool, "name", "clip_integrity"))
def test_defaults_pass_their_own_check_and_are_json(tool: Tool):
    table = integrity.OPTIONS if tool is integrity else options_of(tool)
    for option in table:
        assert option.checked(option.default) == option.default
        assert json.loads(json.dumps(option.describe()))["name"] == option.name
    assert len({option.python_name for option in table}) == len(table)


@pytest.mark.parametrize(("low", "high"), [(None, None), (0, None), (0, 1), (-1, 1)])
@given(value=st.floats() | st.integers())
def test_a_number_is_taken_if_and_only_if_it_is_finite_and_in_its_range(low, high, value):
    wanted = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    assert (Number(at_least=low, at_most=high).problem(value) is None) == wanted


@given(value=st.floats() | st.integers() | st.text() | st.booleans() | st.none())
def test_a_whole_number_is_no_text_no_flag_and_no_fraction(value):
    wanted = isinstance(value, int) and not isinstance(value, bool)
    assert (Whole().problem(value) is None) == wanted


def parsed(table: list[Option], *words: str) -> dict:
    parser = argparse.ArgumentParser()
    add_options(parser, table)
    return vars(parser.parse_args(words))


def test_the_command_line_reads_what_the_table_says(caplog: pytest.LogCaptureFixture):
    table = [
        Option("k", Whole(at_least=1), 10, "hits"),
        Option("names", Several(of=Text()), (), "some"),
        Option("self-check", Flag(), True, "no"),
        Option("batch", Whole(auto=True), None, "size"),
        Option("new", Number(), 0.5, "share of 100 %", former="old"),
        Option("how", Choice(names=("a", "b")), "a", "one of two"),
    ]
    assert parsed(table) == {"k": 10, "names": (), "self_check": True, "batch": None, "new": 0.5, "how": "a"}
    assert parsed(table, "-k", "3", "--names", "x", "y", "--self-check", "--batch", "auto", "--how", "b") == {
        "k": 3, "names": ["x", "y"], "self_check": False, "batch": None, "new": 0.5, "how": "b",
    }  # fmt: skip
    assert not caplog.records
    assert parsed(table, "--old", "0.1")["new"] == 0.1
    assert "--old is now called --new" in caplog.text


@pytest.mark.parametrize("words", [["-k", "many"], ["--how", "c"], ["--names"]])
def test_what_the_command_line_cannot_read_ends_it(words: list[str], capsys: pytest.CaptureFixture[str]):
    table = [
        Option("k", Whole(), 1, "hits"),
        Option("names", Several(of=Text()), (), "some"),
        Option("how", Choice(names=("a",)), "a", ""),
    ]
    with pytest.raises(SystemExit):
        parsed(table, *words)
    assert words[0].lstrip("-") in capsys.readouterr().err


def test_a_former_name_is_taken_with_a_warning_in_python():
    told: list[str] = []
    table = [Option("new-name", Number(), 0.5, "", former="old-name")]
    assert read_options(table, {"old_name": 0.1}, "it", told.append).new_name == 0.1
    assert told == ["it: old_name is now called new_name; the old name goes with the next release"]


# What each option is turned to, where another value than one of its kind's own is needed to see it.
TURNED = {
    ("clip_align", "against"): {"against": "labels"},
    ("clip_align", "captions_score"): {"captions_score": "min"},
    ("clip_align", "min_score"): {"min_score": 1.0},
    ("clip_align", "keep_top"): {"keep_top": 0.1},
    ("clip_align", "min_margin"): {"min_margin": 3.0},
    ("clip_align", "per_class"): {"per_class": True},
    ("clip_align", "prompt"): {"prompt": "another {}"},
    ("clip_classify", "labels"): {"labels": ["hat", "mug"]},
    ("clip_classify", "templates"): {"templates": ["not a {}"]},
    ("clip_classify", "min_probability"): {"min_probability": 1.0},
    ("clip_clean", "min_side"): {"min_side": 40},
    ("clip_clean", "max_aspect"): {"max_aspect": 1.0},
    ("clip_clean", "min_spread"): {"min_spread": 255},
    ("clip_clean", "min_words"): {"min_words": 4},
    ("clip_clean", "skip"): {"skip": ["blank"]},
    ("clip_dedup", "levels"): {"levels": ["exact"]},
    ("clip_dedup", "keep"): {"keep": ["order"]},
    ("clip_dedup", "keep_ratio"): {"keep_ratio": 0.2},
    ("clip_dedup", "semantic_threshold"): {"semantic_threshold": 0.99},
    ("clip_dedup", "redundant"): {"redundant": "texts"},
    ("clip_dedup", "clusters"): {"clusters": 1},
    ("clip_dedup", "seed"): {"seed": 5},
    ("clip_outliers", "what"): {"what": "labels"},
    ("clip_outliers", "neighbours"): {"neighbours": 1},
    ("clip_outliers", "min_similarity"): {"min_similarity": 1.0},
    ("clip_outliers", "min_doubt"): {"min_doubt": 0.0},
    ("clip_sample", "strategy"): {"strategy": "random"},
    ("clip_sample", "by"): {"by": "captions"},
    ("clip_sample", "count"): {"count": 5},
    ("clip_sample", "ratio"): {"ratio": 0.5},
    ("clip_sample", "seed"): {"seed": 3},
    ("clip_sample", "query"): {"query": "a blue thing"},
    ("clip_sample", "start_from"): {"start_from": ["val"]},
    ("clip_sample", "clusters"): {"clusters": 1},
    ("clip_search", "query"): {"query": "a blue thing"},
    ("clip_search", "item"): {"item": "i3"},
    ("clip_search", "k"): {"k": 3},
    ("clip_search", "min_score"): {"min_score": 0.9},
}
# What has to be set before an option says anything.
BEFORE = {
    ("clip_align", "per_class"): {"keep_top": 0.3},
    ("clip_align", "prompt"): {"against": "labels"},
    ("clip_dedup", "keep_ratio"): {"levels": ["semantic"]},
    ("clip_dedup", "semantic_threshold"): {"levels": ["semantic"]},
    ("clip_dedup", "redundant"): {"levels": ["semantic"]},
    ("clip_dedup", "clusters"): {"levels": ["semantic"], "keep_ratio": 0.5},
    ("clip_dedup", "seed"): {"levels": ["semantic"], "keep_ratio": 0.5},
    ("clip_sample", "query"): {"strategy": "query", "query": "a red thing"},
    ("clip_sample", "clusters"): {"strategy": "cluster_random"},
}
# Under which each tool finds something to drop, for what says what becomes of it.
DROPS = {
    "clip_align": {"keep_top": 0.1},
    "clip_classify": {"on_error": "skip"},
    "clip_dedup": {"levels": ["exact"]},
    "clip_outliers": {"min_similarity": 1.0},
}
COMMON = {"action": "mark", "subset": ["val"], "protect": ["train"]}
# Of objects, for every tool that works on them.
OBJECTS = {
    "min_side": {"min_side": 20},
    "margin": {"margin": 0.6},
    "mask": {"mask": "grey"},
    "max_side": {"max_side": 12},
}
# Copies are found by pixels, whatever surrounds them; by their vectors, objects differ by all that is cut out.
OF_OBJECTS = {"clip_dedup": {"levels": ["semantic"], "keep_ratio": 0.5}}
# What one option takes the place of.
INSTEAD = {("clip_sample", "ratio"): ["count"], ("clip_search", "item"): ["query"], ("clip_search", "image"): ["query"]}
# Said of the machine, not of the result; what each does is shown where it is made.
MACHINE = {"model", "device", "precision", "exact_decode", "local_files_only", "on_error", "recompute"}
# Which pairs vectors propose beside the descriptors shows with real vectors only: test_curate_near has those.
ELSEWHERE = {("clip_dedup", "threshold")}


def scenes() -> Dataset:
    """Thirty items with captions and labels, among them copies, one that is blank, one broken, one without picture."""
    made = []
    for n in range(30):
        rng = np.random.default_rng(n // 2 if n < 8 else n)
        pixels = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((8, 6 + n % 3 if n > 8 else 8, 1))).astype(np.uint8)
        media = Image.from_numpy(np.full((48, 48, 3), 128, np.uint8) if n == 9 else pixels)
        media = Image.from_file("/nowhere.png") if n == 10 else media
        told = ["" if n == 11 else f"a {'red' if n % 2 else 'blue'} thing", f"thing number {n}"]
        labels = [Label(n % 4 == 0), *([Label(1)] if n in (1, 3) else [])]
        subset = "val" if n % 3 == 0 else "train"
        made.append(DatasetItem(f"i{n}", subset=subset, media=media, annotations=[*map(Caption, told), *labels]))
    made.append(DatasetItem("bare", subset="train"))
    return Dataset.from_iterable(made, categories=["cat", "dog"])


def boxed(item: DatasetItem, n: int) -> DatasetItem:
    """An item with an outlined box, small in every third one."""
    side = 16 if n % 3 else 30
    box = Bbox(8, 8, side, side, label=n % 2, group=1)
    return item.wrap(annotations=[*item.annotations, box, Polygon([8, 8, 8 + side, 8, 8, 8 + side], group=1)])


def scenes_with_objects() -> Dataset:
    items = [boxed(item, n) for n, item in enumerate(scenes())]
    return Dataset.from_iterable(items, categories=["cat", "dog"])


def seen_by_user(tool: Tool, given: dict, dataset: Dataset) -> list[object]:
    made = transform_of(tool.name)(dataset, **given)
    items = [(each.id, each.subset, repr(each.annotations), dict(each.attributes)) for each in made]
    return [made.decisions.decisions, made.decisions.notes, items]


TURNS = [
    (tool, option)
    for tool in TOOLS
    for option in options_of(tool)
    if option.changes == "result" and option.python_name not in MACHINE and (tool.name, option.name) not in ELSEWHERE
]


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(("tool", "option"), TURNS, ids=lambda each: each.name)
def test_every_option_changes_what_a_user_sees(tool: Tool, option: Option, tmp_path: Path):
    name = (tool.name, option.python_name)
    before = {**ENOUGH.get(tool.name, {}), **BEFORE.get(name, {})}
    if option.group == "decisions":
        before |= DROPS.get(tool.name, {})
    make = scenes_with_objects if option.group == "objects" else scenes
    if option.python_name in OBJECTS and make is scenes_with_objects:
        before |= {"objects": True, **OF_OBJECTS.get(tool.name, {})}
    (tmp_path / "keep").write_text("".join(f"{item.id}@{item.subset}\n" for item in scenes()))
    Pictures.fromarray(np.full((9, 9, 3), (200, 0, 0), np.uint8)).save(tmp_path / "q.png")
    files = {"except_file": str(tmp_path / "keep"), "image": str(tmp_path / "q.png")}
    if isinstance(option.kind, Flag):
        turned = {option.python_name: not option.default}
    elif option.python_name in files:
        turned = {option.python_name: files[option.python_name]}
    else:
        turned = (OBJECTS if option.group == "objects" else {}).get(option.python_name) or TURNED.get(name)
        turned = turned or {option.python_name: COMMON[option.python_name]}
    after = {key: value for key, value in before.items() if key not in INSTEAD.get(name, ())} | turned
    assert seen_by_user(tool, after, make()) != seen_by_user(tool, before, make())


def test_the_reference_in_the_docs_is_that_of_the_tables(tools: Path):
    """Run ``python tools/option_reference.py`` where an option has changed."""
    import option_reference

    assert option_reference.PAGE.read_text(encoding="utf-8") == option_reference.page()


@pytest.mark.parametrize(("kind", "said"), [(Whole(), "must be a whole number"), (Share(), "must be a number")])
def test_what_is_no_number_is_told_which_is_wanted(kind: Kind, said: str):
    assert [kind.problem(wrong) for wrong in ("7", True, None, [1])] == [said] * 4


def test_an_option_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Option("k", Whole(), 1, "hits").default = 2  # type: ignore[misc]
