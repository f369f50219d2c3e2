"""How many processors there are to use, and which libraries."""

from __future__ import annotations

import os

import numpy
import pytest

from datumaro_clip.system.machine import available_processors, library_version, library_versions


def test_only_processors_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is given two of 64 processors runs 64 threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 7}, raising=False)
    assert available_processors() == 2


def test_where_the_system_does_not_say_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processors() == 1


def test_a_library_that_is_not_installed_has_no_version() -> None:
    assert library_version("no-such-library") is None
    assert library_version("numpy") == numpy.__version__


def test_versions_are_by_name_in_the_order_asked_for() -> None:
    assert library_versions([]) == {}
    assert list(library_versions(["numpy", "no-such-library", "datumaro"])) == ["numpy", "datumaro"]
