"""Categories come back equal, and equal ones have equal bytes."""

from __future__ import annotations

import json

from codec_values import assert_identical, through_json
from datumaro.components import annotation as dm
from pandas.api.types import CategoricalDtype

from datumaro_clip.host.codec.categories import decode_categories, encode_categories


def make_categories() -> dict[dm.AnnotationType, dm.Categories]:
    labels = dm.LabelCategories.from_iterable(["cat", ("dog", "pet", {"b", "a"})])
    labels.attributes = {"occluded", "a"}
    labels.add_label_group("pets", ["cat", "dog"], dm.GroupType.RESTRICTED)
    points = dm.PointsCategories()
    points.add(0, ["nose", "ear"], {(0, 1)}, [3, 4, 5, 9])
    table = dm.TabularCategories.from_iterable([("age", int, {1, 2}), ("name", str), ("f", float)])
    masks = dm.MaskCategories.generate(4)
    masks.attributes = {"x"}
    assert masks.inverse_colormap
    kinds = dm.AnnotationType
    return {kinds.label: labels, kinds.points: points, kinds.tabular: table, kinds.mask: masks}


def test_categories_come_back() -> None:
    """Labels, parents, groups, attributes, joints, positions, colours, columns."""
    wanted = make_categories()
    found = decode_categories(through_json(encode_categories(wanted)))
    assert found == wanted
    assert list(found) == list(wanted)
    assert [c.attributes for c in found.values()] == [c.attributes for c in wanted.values()]
    assert found[dm.AnnotationType.label].find("dog")[0] == 1
    for field in ("colormap", "_inverse_colormap"):
        mine, theirs = (getattr(each[dm.AnnotationType.mask], field) for each in (found, wanted))
        assert_identical(mine, theirs)
    assert decode_categories({}) == {}


def test_types_of_columns_come_back() -> None:
    """Of a categorical column, both the instance that Datumaro's tables have and the class."""
    types = [int, float, str, bool, CategoricalDtype(), CategoricalDtype]
    table = dm.TabularCategories.from_iterable([(f"column {n}", kind, {"a"}) for n, kind in enumerate(types)])
    kind = dm.AnnotationType.tabular
    found = decode_categories(through_json(encode_categories({kind: table})))
    assert [column.dtype for column in found[kind].items] == types


def test_equal_categories_have_equal_bytes() -> None:
    """Sets have no order; a store must."""
    one = dm.LabelCategories.from_iterable([("a", "", {"x", "y", "z"})])
    two = dm.LabelCategories.from_iterable([("a", "", {"z", "x", "y"})])
    kind = dm.AnnotationType.label
    assert json.dumps(encode_categories({kind: one})) == json.dumps(encode_categories({kind: two}))
