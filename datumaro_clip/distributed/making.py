"""Making a plan for a dataset, reading it, and merging its shards into one store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from datumaro_clip.curate.objects import as_objects_need
from datumaro_clip.distributed.places import split_place
from datumaro_clip.distributed.plan import Plan, StoreSettings, cut, keys_file, require_explicit
from datumaro_clip.distributed.records import PlannedWork
from datumaro_clip.errors import PlanError
from datumaro_clip.host.items import key_of
from datumaro_clip.host.sources import open_dataset, split_spec
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import default_model
from datumaro_clip.store import Merged, merge_stores
from datumaro_clip.vectors import ItemKey


def make_plan(spec: str, options: Mapping[str, Any], store: StoreSettings, count: int) -> tuple[Plan, list[ItemKey]]:
    """Cut a dataset into shards.

    Parameters
    ----------
    spec : str
        ``PATH`` or ``PATH:FORMAT``.
    options : mapping
        Values of :data:`~datumaro_clip.distributed.plan.PLANNED_OPTIONS`.
    store : StoreSettings
    count : int
        The number of shards; no more than items are made.

    Returns
    -------
    Plan, list of ItemKey
        The plan, and the keys of all items in their order.

    Raises
    ------
    OptionError
        If precision or device is not given, or the dataset is empty or cannot be read.
    ModelError
        If the model cannot be loaded.
    """
    require_explicit(options)
    options = as_objects_need(options)
    model = str(options["model"] or default_model())
    options["model"] = str(Path(model).resolve()) if Path(model).is_dir() else model
    place, name = split_spec(spec)
    keys = [key_of(item) for item in open_dataset(spec)]
    # The vector space does not depend on device and precision.
    space = load_model(options["model"], local_files_only=options["local_files_only"]).space
    resolved = str(Path(place).resolve())
    dataset = f"{resolved}:{name}" if name else resolved
    return Plan(dataset, space.fingerprint, store, options, cut(keys, count)), keys


def write_plan(plan: Plan, keys: Iterable[ItemKey], address: str) -> None:
    """Write the keys of a plan's shards into their folder, then the plan's file."""
    place, name = split_place(address)
    work, rest = PlannedWork(plan, place.below(_folder(name)), address), iter(keys)
    for number, shard in enumerate(plan.shards):
        work.place.write(work.keys_name(number), keys_file(islice(rest, shard.items)))
    place.write(name, plan.to_json())


def _folder(name: str) -> str:
    return f"{Path(name).stem}.shards"


def read_plan(address: str) -> PlannedWork:
    """Read a plan's file; its shards are in a folder beside it.

    Raises
    ------
    PlanError
        If there is no such file, or it is no plan.
    """
    place, name = split_place(address)
    content = place.read(name)
    if content is None:
        raise PlanError(f"there is no plan {address}; make one with datum-clip plan make")
    return PlannedWork(Plan.from_json(content, address), place.below(_folder(name)), address)


def merge_shards(work: PlannedWork, target: Path, *, overwrite: bool = False) -> Merged:
    """Merge a plan's shards, in their order, into one store.

    Raises
    ------
    PlanError
        If a shard is not done.
    StoreError
        As :func:`~datumaro_clip.store.merge_stores`.
    """
    plan = work.plan
    missing = [number for number in range(len(plan.shards)) if work.done(number) is None]
    if missing:
        raise PlanError(
            f"{len(missing)} of {len(plan.shards)} shards are not done, as shard {missing[0]}; see what they lack with "
            f"datum-clip plan status {work.path}"
        )
    with ExitStack() as stack:
        stores = [stack.enter_context(work.place.fetch(plan.name(number))) for number in range(len(plan.shards))]
        return merge_stores(stores, target, overwrite=overwrite)
