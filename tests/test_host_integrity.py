"""What clip_integrity reports, and in which form."""

from __future__ import annotations

import logging

import pytest
from datumaro.components.annotation import Bbox
from small_datasets import dataset, item, pixels

from datumaro_clip.host.integrity import ClipIntegrityValidator

pytestmark = pytest.mark.usefixtures("encoder")


def test_integrity_is_reported_in_datumaros_form():
    bad = item("bad", pixels(1), caption="")
    bad.annotations.append(Bbox(60, 60, 40, 40, label=7))
    found = ClipIntegrityValidator().validate(dataset(bad, item("none", None), item("good", pixels(2))))
    kinds = sorted(report["anomaly_type"] for report in found["validation_reports"])
    assert kinds == ["BoxOutsidePicture", "EmptyCaption", "LabelOutsideCategories", "MissingMedia"]
    assert found["summary"] == {"errors": 3, "warnings": 1, "infos": 0}
    assert ClipIntegrityValidator().validate(dataset())["summary"]["errors"] == 0


@pytest.mark.parametrize("value", ["hello", {"vector": [[1], [1, 2]]}, {"vector": None}, {}])
def test_integrity_reports_what_is_no_vector(value: object, caplog: pytest.LogCaptureFixture):
    odd = item("odd", pixels(1))
    odd.attributes["clip_embedding"] = value
    with caplog.at_level(logging.INFO):
        found = ClipIntegrityValidator().validate(dataset(odd))
    assert [report["item_id"] for report in found["validation_reports"]] == ["odd"]
    assert "clip_integrity: 1 items; NonFiniteVector 1" in caplog.text
