"""A page that shows what was decided and why, beside the decisions themselves."""

from __future__ import annotations

from datumaro_clip.report.page import write_report
from datumaro_clip.report.plan import Report, plan_report
from datumaro_clip.report.thumbnails import thumbnails_of

__all__ = ["Report", "plan_report", "thumbnails_of", "write_report"]
