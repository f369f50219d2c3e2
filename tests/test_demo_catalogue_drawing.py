"""Drawn things must be there, in one piece, where their box says, and tell apart what captions tell apart."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from datumaro_clip.demo.catalogue import draw_item, sample_spec
from datumaro_clip.demo.catalogue.backdrops import BACKDROPS
from datumaro_clip.demo.catalogue.figures import FIGURES
from datumaro_clip.demo.catalogue.outliers import draw_outlier
from datumaro_clip.demo.catalogue.painting import _stage, paint
from datumaro_clip.demo.catalogue.plan import Entry, plan_catalogue
from datumaro_clip.demo.catalogue.rendering import render
from datumaro_clip.demo.catalogue.shapes import box, ellipse, smooth, stroke
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, KINDS, ItemSpec, distinct_attributes

SIDE = 128


def _spec(**changes: object) -> ItemSpec:
    """A quiet, upright red mug on white."""
    plain = {name: values[0] for name, values in ATTRIBUTES.items()} | {"size": "large", "kind": "mug"}
    still = replace(sample_spec(random.Random(0), plain), angle=0.0, noise=0.0, light=1.0, warmth=0.0, mirrored=False)
    return replace(still, **changes)  # type: ignore[arg-type]


def _pixels(spec: ItemSpec) -> np.ndarray:
    return np.asarray(draw_item(spec, SIDE), dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_fill_their_unit_square_and_stay_inside(kind: str) -> None:
    corners = np.concatenate([shape for part in FIGURES[kind]() for shape in part.covers])
    assert corners.min() > -0.03
    assert corners.max() < 1.03
    assert np.ptp(corners, axis=0).max() > 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_lies_tightly_around_the_thing(kind: str) -> None:
    """A box that is off would plant a defect that truth.json does not know."""
    spec = _spec(kind=kind)
    painting = paint(spec, (SIDE, SIDE))
    empty = np.asarray(BACKDROPS[spec.background](SIDE, SIDE, np.random.default_rng(spec.seed)), dtype=np.float32)
    left, top, right, bottom = painting.box
    changed = np.abs(np.asarray(painting.image, dtype=np.float32) - empty).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert 0 <= left < right <= SIDE
    assert 0 <= top < bottom <= SIDE
    assert columns.min() >= left - 2
    assert columns.max() <= right + 4
    assert rows.min() >= top - 2
    assert rows.max() <= bottom + 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_of_a_thing_at_the_edge_is_of_what_is_seen(kind: str) -> None:
    for angle, x, y in ((14.0, 0.3, 0.3), (-14.0, 0.7, 0.7), (14.0, 0.3, 0.7), (-14.0, 0.7, 0.3)):
        painting = paint(_spec(kind=kind, angle=angle, centre=(x, y), scale=0.86), (SIDE, SIDE))
        left, top, right, bottom = painting.box
        assert 0 <= left < right <= SIDE
        assert 0 <= top < bottom <= SIDE


@pytest.mark.parametrize(("items", "seed"), [(300, 0), (3000, 51)])
def test_no_box_of_a_catalogue_leaves_its_picture_by_itself(items: int, seed: int) -> None:
    """Such a box would be a defect that truth.json does not know; only things that reach over the edge are drawn."""
    for entry in plan_catalogue(items, seed):
        if entry.role == "outlier" or _lies_inside(entry):
            continue
        (width, height), (left, top, right, bottom) = render(entry)[1:]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def _lies_inside(entry: Entry) -> bool:
    """Whether all corners of the figure are inside its picture."""
    stage = _stage(entry.spec, entry.size)
    shapes = [shape for part in FIGURES[entry.spec.kind]() for shape in part.covers]
    corners = stage.place(np.concatenate(shapes)) + stage.origin
    return bool((corners >= 0).all() and (corners <= entry.size).all())


@pytest.mark.parametrize("name", ["colour", "pattern", "background", "size", "audience", "kind"])
def test_every_attribute_changes_the_picture(name: str) -> None:
    """Captions that differ must not be of the same picture."""
    pictures = [_pixels(_spec(**{name: value})) for value in ATTRIBUTES[name]]
    if name == "size":
        pictures = [_pixels(_spec(size=value, scale=scale)) for value, scale in (("small", 0.48), ("large", 0.8))]
    for index, one in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(one - other).mean() > 0.5


def test_the_same_spec_gives_the_same_pixels() -> None:
    spec = sample_spec(random.Random(5))
    assert np.array_equal(_pixels(spec), _pixels(spec))


def test_sizes_are_width_and_height() -> None:
    assert draw_item(_spec(), (96, 64)).size == (96, 64)


def test_distinct_attributes_differ_without_the_audience() -> None:
    """Two things that one full caption fits would make recall unanswerable."""
    fresh = distinct_attributes(random.Random(0))
    keys = [tuple(value for name, value in next(fresh).items() if name != "audience") for _ in range(1_000)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("seed", range(8))
def test_outliers_are_whole_pictures(seed: int) -> None:
    picture = draw_outlier(seed, (90, 70))
    assert picture.size == (90, 70)
    assert np.asarray(picture).std() > 5


def test_shapes_have_points_in_pairs() -> None:
    shapes = [box(0, 0, 1, 1), box(0, 0, 1, 1, 0.1), ellipse(0.5, 0.5, 0.5, 0.25), smooth([(0, 0), (1, 0), (1, 1)])]
    for shape in (*shapes, *stroke([(0, 0), (1, 1), (1, 0)], 0.1)):
        assert shape.ndim == 2
        assert shape.shape[1] == 2


def test_a_rounded_box_keeps_its_corners_inside() -> None:
    rounded = box(0.2, 0.1, 0.8, 0.9, 0.1)
    assert np.allclose(rounded.min(axis=0), (0.2, 0.1))
    assert np.allclose(rounded.max(axis=0), (0.8, 0.9))
