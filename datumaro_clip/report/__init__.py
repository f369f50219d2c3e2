"""A page that shows what was decided and why, and on which a person refuses, adds and takes decisions home."""

from __future__ import annotations

from datumaro_clip.report.evaluation import write_evaluation
from datumaro_clip.report.page import write_report

__all__ = ["write_evaluation", "write_report"]
