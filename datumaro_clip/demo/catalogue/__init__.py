"""A drawn product catalogue: pictures, captions in English and French, and known defects."""

from __future__ import annotations

from datumaro_clip.demo.catalogue.captions import captions, describe
from datumaro_clip.demo.catalogue.painting import draw_item
from datumaro_clip.demo.catalogue.spec import ATTRIBUTES, ItemSpec, sample_spec
from datumaro_clip.demo.catalogue.writing import write_catalogue

__all__ = ["ATTRIBUTES", "ItemSpec", "captions", "describe", "draw_item", "sample_spec", "write_catalogue"]
