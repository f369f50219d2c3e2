"""``datum-clip plan``: embed a dataset in shards, on one machine or many."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datumaro_clip.cli.parsing import add_json, add_ray, at_least
from datumaro_clip.cli.printing import complain, say, say_json, say_lines
from datumaro_clip.distributed.plan import LOCAL_OPTIONS, PLANNED_OPTIONS, StoreSettings
from datumaro_clip.distributed.records import PlannedWork, Record, ShardState, states, tell_slowest
from datumaro_clip.errors import OptionError
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.options import add_options, read_options
from datumaro_clip.store import DTYPES, kind_names

# States of which each shard is printed.
_TOLD = ("failed", "silent", "slow", "running")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare ``make``, ``run``, ``status`` and ``merge``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_make(actions)
    _configure_run(actions)
    status = actions.add_parser("status", help="show the state of the shards; status 1 if one failed")
    status.add_argument("plan", metavar="PLAN", help="plan.json")
    add_json(status)
    merge = actions.add_parser("merge", help="merge all shards into one store")
    add = merge.add_argument
    add("plan", metavar="PLAN", help="plan.json")
    add("-o", "--output", type=Path, required=True, metavar="STORE", help="the store to write")
    add("--overwrite", action="store_true", help="replace a store of the same kind that is there")


def _configure_make(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = actions.add_parser("make", help="cut a dataset into shards; needs --precision and --device")
    add = make.add_argument
    add("dataset", metavar="DATASET[:FORMAT]", help="what to embed")
    add("-o", "--output", required=True, metavar="PLAN", help="the plan's file, as plan.json")
    add("--shards", type=at_least(1), required=True, metavar="N", help="number of shards")
    add("-f", "--format", choices=kind_names(), default=StoreSettings().format, help="default: %(default)s")
    add("--dtype", choices=list(DTYPES), default="float32", help="of the vectors (default: %(default)s)")
    add("--save-media", action="store_true", help="keep pictures in the stores")
    add_options(make, PLANNED_OPTIONS)
    make.set_defaults(device=None)


def _configure_run(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = actions.add_parser("run", help="compute the shards that are not done; status 1 if one fails")
    add = run.add_argument
    add("plan", metavar="PLAN", help="plan.json")
    add("--shard", type=at_least(0), nargs="+", metavar="K", help="these only, from 0 on (default: all)")
    add("--dataset", metavar="PATH[:FORMAT]", help="where the dataset is on this machine")
    add("--slurm", action="store_true", help="print the script of a Slurm array instead")
    add_ray(run, workers="one per node")
    add(
        "--retries",
        type=at_least(0),
        default=3,
        metavar="N",
        help="times that a shard may lose its worker, with --ray (default: %(default)s)",
    )
    add_configured_options(run, LOCAL_OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "make":
        return _make(args)
    from datumaro_clip.distributed.making import merge_shards, read_plan

    work = read_plan(args.plan)
    if args.action == "run":
        return _run(work, args)
    if args.action == "status":
        return _status(work, args.json)
    done = merge_shards(work, args.output, overwrite=args.overwrite)
    say(f"{args.output}: {done.items} items of {done.stores} shards")
    return 0


def _make(args: argparse.Namespace) -> int:
    from datumaro_clip.distributed.making import make_plan, write_plan
    from datumaro_clip.distributed.plan import require_explicit

    given = {option.python_name: getattr(args, option.python_name) for option in PLANNED_OPTIONS}
    require_explicit(given)
    options = vars(read_options(PLANNED_OPTIONS, given, "the plan"))
    plan, keys = make_plan(args.dataset, options, StoreSettings(args.format, args.dtype, args.save_media), args.shards)
    write_plan(plan, keys, args.output)
    sizes = sorted({shard.items for shard in plan.shards})
    say(f"{args.output}: {plan.items} items in {len(plan.shards)} shards of {' or '.join(map(str, sizes))}")
    return 0


def _run(work: PlannedWork, args: argparse.Namespace) -> int:
    from datumaro_clip.distributed.loop import run_open
    from datumaro_clip.distributed.runner import ShardRunner

    plan = work.plan
    if args.slurm and args.ray is not None:
        raise OptionError("--slurm and --ray exclude one another: name one")
    numbers = range(len(plan.shards)) if args.shard is None else sorted(set(args.shard))
    plan.require(numbers)
    if args.slurm:
        return _print_slurm(work, numbers, args)
    local = {option.python_name: getattr(args, option.python_name) for option in LOCAL_OPTIONS}
    if args.ray is not None:
        from datumaro_clip.distributed.ray import cluster
        from datumaro_clip.distributed.ray_shards import run_shards

        given = {"dataset": args.dataset, "workers": args.workers, "retries": args.retries}
        with cluster(args.ray or None):
            failed = run_shards(work, numbers, local, _tell, **given)
        return _conclude(work, failed)
    runner = ShardRunner(work, local, args.dataset)
    if args.shard is None:
        return _conclude(work, run_open(runner, numbers, _tell))
    for number in numbers:
        _tell(number, runner.run(number))
    return _conclude(work, [])


def _print_slurm(work: PlannedWork, numbers: Sequence[int], args: argparse.Namespace) -> int:
    from datumaro_clip.distributed.slurm import array_script

    left = [number for number in numbers if work.done(number) is None]
    if not left:
        return _conclude(work, [])
    arguments = [] if args.dataset is None else ["--dataset", args.dataset]
    for option in LOCAL_OPTIONS:
        value = getattr(args, option.python_name)
        if value != option.default:
            arguments += [option.flag] if isinstance(value, bool) else [option.flag, str(value)]
    say_lines(array_script(work.path, left, arguments))
    return 0


def _tell(number: int, record: Record) -> None:
    """Print that a shard is done, and how many of its items have no vector."""
    lost = f", {sum(record.failures.values())} without a vector" if record.failures else ""
    say(f"shard {number}: {record.items} items in {record.seconds:.1f} s{lost}, {record.worker}")


def _conclude(work: PlannedWork, failed: Sequence[int]) -> int:
    """Print how to go on; return the exit status."""
    left = sum(each.state != "done" for each in states(work))
    if not left:
        say(f"all {len(work.plan.shards)} shards are done: datum-clip plan merge {work.path} -o STORE")
    if failed:
        complain(
            f"{len(failed)} shards failed, as shard {failed[0]}; what is done is kept, and the same command goes on"
        )
    return 1 if failed else 0


def _status(work: PlannedWork, as_json: bool) -> int:
    found = states(work)
    counts = Counter(each.state for each in found)
    if as_json:
        say_json({"items": work.plan.items, "states": counts, "shards": [_described(each) for each in found]})
        return 1 if counts["failed"] else 0
    done = sum(each.items for each in found if each.state == "done")
    parts = [f"{counts[state]} {state}" for state in ("done", *_TOLD, "open") if counts[state]]
    say(f"{work.path}: {', '.join(parts)}; {done} of {work.plan.items} items")
    if slowest := tell_slowest(found):
        say(slowest)
    for each in found:
        if each.state in _TOLD and each.record is not None:
            record = each.record
            how_far = f"{record.items} of {each.items} items after {record.seconds:.0f} s"
            why = f": {record.error}" if record.error else ""
            say(f"shard {each.number}: {each.state}, {how_far}, {record.worker}{why}")
    return 1 if counts["failed"] else 0


def _described(each: ShardState) -> dict[str, object]:
    record = {} if each.record is None else {**vars(each.record), "state": each.state}
    return {"shard": each.number, "items": each.items, "state": each.state, **({"record": record} if record else {})}
