"""The script that Slurm takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from shards import planned

from datumaro_clip.cli import main
from datumaro_clip.distributed.making import read_plan, write_plan
from datumaro_clip.distributed.runner import ShardRunner
from datumaro_clip.distributed.slurm import array_script


@pytest.mark.parametrize(
    ("shards", "ranges"), [([3], "3"), ([0, 1, 2], "0-2"), ([0, 2, 3, 4, 9], "0,2-4,9"), ([1, 3], "1,3")]
)
def test_the_array_has_a_task_for_each_shard(shards: list[int], ranges: str) -> None:
    assert f"#SBATCH --array={ranges}\n" in array_script("plan.json", shards, [])


def test_paths_of_any_name_stay_one_word(tmp_path: Path) -> None:
    script = array_script(str(tmp_path / "a $(plan).json"), [0], ["--cache", "my cache"])
    [command] = [line for line in script.splitlines() if line.startswith("exec ")]
    words = subprocess.run(
        ["bash", "-c", command.replace("exec datum-clip", "printf '%s\\n'")],
        env={"SLURM_ARRAY_TASK_ID": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert words == ["plan", "run", str(tmp_path / "a $(plan).json"), "--cache", "my cache", "--shard", "7"]
    assert all("$(" not in line for line in script.splitlines() if line.startswith("#SBATCH --job-name"))


def test_a_task_makes_its_shard_and_done_ones_get_no_task(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "plan.json")
    write_plan(*planned(f"{shop}:coco", 3, texts="none", objects=False), path)
    work = read_plan(path)
    ShardRunner(work, {"cache": "off"}).run(1)
    assert main(["plan", "run", path, "--slurm", "--threads", "2"]) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --array=0,2\n" in script
    assert script.endswith(f'exec datum-clip plan run {path} --threads 2 --shard "$SLURM_ARRAY_TASK_ID"\n')
    for number in ("0", "2"):
        assert main(["plan", "run", path, "--shard", number]) == 0
    capsys.readouterr()
    assert main(["plan", "run", path, "--slurm"]) == 0
    assert capsys.readouterr().out.startswith("all 3 shards are done")
