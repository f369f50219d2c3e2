"""Curation: arrays and plain records in, decisions out."""

from __future__ import annotations

from datumaro_clip.curate.decisions import Decision, DecisionLog, read_decisions, write_decisions

__all__ = ["Decision", "DecisionLog", "read_decisions", "write_decisions"]
