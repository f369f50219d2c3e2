"""Plans of drawn pictures, and what two stores must have in common to be called equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import DecisionLog
from datumaro_clip.curate.objects import EMBEDDED_OPTIONS
from datumaro_clip.distributed.making import make_plan
from datumaro_clip.distributed.plan import PLANNED_OPTIONS, Plan, StoreSettings
from datumaro_clip.host.transform import transform_of
from datumaro_clip.options import read_options
from datumaro_clip.store import open_store
from datumaro_clip.vectors import ItemKey

SINGLE = {"model": "tiny", "precision": "f32", "texts": "captions", "objects": True, "cache": "off"}


def planned(spec: str, shards: int, **options: object) -> tuple[Plan, list[ItemKey]]:
    """A plan with objects and captions; f32 on the CPU."""
    given = {"model": "tiny", "precision": "f32", "device": "CPU", "texts": "captions", "objects": True, **options}
    values = vars(read_options(PLANNED_OPTIONS, given, "the plan"))
    return make_plan(spec, values, StoreSettings(), shards)


def single_run(spec: Path, store: Path) -> Path:
    """The store of one command on one machine."""
    assert read_options(EMBEDDED_OPTIONS, SINGLE, "test")
    dataset = Dataset.import_from(str(spec), "coco")
    dataset.transform("clip_embed", store=str(store), store_format="clip_mmap", **SINGLE)
    dataset.init_cache()
    return store


def require_same(one: Path, other: Path) -> None:
    """Fail unless two stores have the same items in the same order, and the vectors that a plan promises."""
    with open_store(one) as first, open_store(other) as second:
        assert list(second.keys()) == list(first.keys())
        for mine, yours in zip(first.records(), second.records(), strict=True):
            assert yours.payload == mine.payload
            np.testing.assert_array_equal(yours.embedding, mine.embedding)
            assert [each.bbox for each in yours.objects] == [each.bbox for each in mine.objects]
            for my_object, your_object in zip(mine.objects, yours.objects, strict=True):
                np.testing.assert_array_equal(your_object.vector, my_object.vector)
            for my_text, your_text in zip(mine.captions, yours.captions, strict=True):
                np.testing.assert_allclose(your_text.vector, my_text.vector, atol=1e-6)
        assert first.header.provenance == second.header.provenance


def decisions(store: Path, tool: str, **options: object) -> DecisionLog:
    """What a tool decides about a store's items."""
    dataset = Dataset.import_from(str(store), "clip_mmap")
    return transform_of(tool)(dataset, model="tiny", precision="f32", cache="off", **options).decisions
