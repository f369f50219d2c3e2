"""The soak's verdict: what grows is told from what moves up and down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not on this machine: the soak reads /proc")


@pytest.mark.parametrize(
    ("memory", "status"),
    [
        ([], 1),
        ([500.0] * 4, 1),
        ([500.0] * 20, 0),
        ([100.0 * n for n in range(1, 11)] + [1000.0] * 10, 0),
        ([500.0 + 30 * (n % 2) for n in range(20)], 0),
        ([500.0 + 5 * n for n in range(20)], 1),
    ],
)
def test_only_growth_in_the_second_half_is_a_fault(
    tools: Path, memory: list[float], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from soak import Usage, report

    assert report([Usage(each, 6, 13) for each in memory]) == status
    assert (status == 0) == ("GROWS" not in capsys.readouterr().out and len(memory) > 4)
