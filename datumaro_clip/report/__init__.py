"""Reports: a page on which a person checks the decisions of a run and changes them, and a page of an evaluation."""

from __future__ import annotations

from datumaro_clip.report.evaluation import write_evaluation
from datumaro_clip.report.page import write_report

__all__ = ["write_evaluation", "write_report"]
