"""The things that the catalogue sells, each a list of parts in the unit square."""

from __future__ import annotations

from collections.abc import Callable

from datumaro_clip.demo.catalogue.figures import furniture, kitchen, leisure, wear
from datumaro_clip.demo.catalogue.shapes import Part

FIGURES: dict[str, Callable[[], list[Part]]] = {
    "ball": leisure.ball,
    "bag": wear.bag,
    "bottle": kitchen.bottle,
    "bucket": kitchen.bucket,
    "chair": furniture.chair,
    "clock": furniture.clock,
    "guitar": leisure.guitar,
    "hat": wear.hat,
    "kite": leisure.kite,
    "lamp": furniture.lamp,
    "mug": kitchen.mug,
    "shoe": wear.shoe,
    "sock": wear.sock,
    "sofa": furniture.sofa,
    "t-shirt": wear.t_shirt,
    "teapot": kitchen.teapot,
    "torch": leisure.torch,
    "umbrella": leisure.umbrella,
    "vase": kitchen.vase,
    "wardrobe": furniture.wardrobe,
}
