"""The script of a Slurm array, with a task for each shard."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from datumaro_clip.system.files import safe_file_name


def array_script(plan: str, shards: Sequence[int], arguments: Sequence[str]) -> str:
    """Return a script for ``sbatch``: an array of tasks that each make one shard.

    A task that Slurm runs again, for example after a node was lost, goes on; one whose shard is done ends at once.

    Parameters
    ----------
    plan : str
        The plan's file, or its URL. Each task prints to a file beside the plan; for a URL, to one in the directory from
        which the script is submitted.
    shards : sequence of int
        The shards to make, ascending.
    arguments : sequence of str
        More arguments of ``datum-clip plan run``.
    """
    is_file = "://" not in plan
    plan = str(Path(plan).resolve()) if is_file else plan
    # Slurm does not make the folder for the output: without it, a task fails silently.
    folder = f"{Path(plan).parent}/" if is_file else ""
    command = shlex.join(["datum-clip", "plan", "run", plan, *arguments])
    merge = shlex.join(["datum-clip", "plan", "merge", plan, "-o", "STORE"])
    return f"""\
#!/bin/bash
# {len(shards)} shards of a plan. Submit with what a task needs: sbatch --cpus-per-task=8 --mem=4G --time=4:00:00 FILE
# Then make one store: sbatch --dependency=afterok:JOB --wrap {shlex.quote(merge)}
#SBATCH --job-name={safe_file_name(Path(plan).stem)}
#SBATCH --array={_ranges(shards)}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={folder}{Path(plan).stem}.slurm-%a.log
exec {command} --shard "$SLURM_ARRAY_TASK_ID"
"""


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in Slurm's form: ``0-3,7``."""
    runs = groupby(enumerate(numbers), lambda each: each[1] - each[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(each) for _, each in runs)]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ends)
