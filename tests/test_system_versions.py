"""Versions of libraries: those installed, and no others."""

from __future__ import annotations

import numpy

from datumaro_clip.system.versions import library_version, library_versions


def test_a_library_that_is_not_installed_has_no_version() -> None:
    assert library_version("no-such-library") is None
    assert library_version("numpy") == numpy.__version__


def test_versions_are_by_name_in_the_order_asked_for() -> None:
    assert library_versions([]) == {}
    assert list(library_versions(["numpy", "no-such-library", "datumaro"])) == ["numpy", "datumaro"]
