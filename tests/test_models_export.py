"""What is exported computes what the checkpoint computed, however it was exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from datumaro_clip.models.manifest import read_manifest, verify_files

pytestmark = pytest.mark.export


def test_an_export_is_a_model_directory_that_verifies(random_clip: Path) -> None:
    manifest = verify_files(random_clip)
    assert manifest == read_manifest(random_clip)
    assert (manifest.family, manifest.precision, manifest.dimension) == ("clip", "f32", 24)
    assert sorted(path.name for path in random_clip.iterdir()) == sorted(["manifest.json", *manifest.files])
