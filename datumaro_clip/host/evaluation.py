"""What an evaluation compares, as a command line names it: datasets, stores, and decisions about the first of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.evaluate.run import ComparedSet
from datumaro_clip.host.apply import DecidedItems, Replay
from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.items import key_of, label_names, neutral
from datumaro_clip.host.sources import open_dataset, split_spec
from datumaro_clip.vectors import ItemKey


def open_compared(raw: str, curated: Sequence[str]) -> list[ComparedSet]:
    """The raw dataset, then the curated ones.

    Parameters
    ----------
    raw : str
        ``PATH[:FORMAT]``.
    curated : sequence of str
        Each the same, or the path of a ``decisions.jsonl`` about the raw dataset.

    Raises
    ------
    OptionError
        If one cannot be read.
    DecisionError
        If decisions do not fit the raw dataset.
    """
    source = open_dataset(raw)
    names = Counter(_name(spec) for spec in (raw, *curated))
    found = [ComparedSet(_name(raw), raw, _items(raw, source))]
    for spec in curated:
        name = _name(spec) if names[_name(spec)] == 1 else spec
        if Path(spec).suffix == ".jsonl":
            found.append(_decided(name, spec, source))
        else:
            found.append(ComparedSet(name, spec, _items(spec, open_dataset(spec))))
    return found


def _decided(name: str, path: str, source: Dataset) -> ComparedSet:
    """The raw dataset as decisions leave it."""
    log = read_decisions(path)
    DecidedItems(log, source.categories()).require_keys(key_of(item) for item in source)
    moved = {ItemKey(one.key.id, one.subset): one.key for one in log.decisions if one.action == "move" and one.subset}
    return ComparedSet(name, path, _items(path, Replay(source, log=log)), moved)


def _items(spec: str, dataset: Dataset | Replay) -> list[Item]:
    with told_as_option_errors(spec):
        classes = label_names(dataset.categories())
        return [neutral(item, classes) for item in dataset]


def _name(spec: str) -> str:
    """A folder's or a store's own name; of decisions, that of the report that they are in."""
    path = Path(split_spec(spec)[0])
    return (path.resolve().parent if path.name == "decisions.jsonl" else path.resolve()).name or spec
