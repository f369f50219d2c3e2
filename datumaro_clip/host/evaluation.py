"""Datasets that models and curation are judged on: samples for certificates, and sets for evaluations to compare."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datumaro.components.dataset import Dataset

from datumaro_clip.curate.decisions import read_decisions
from datumaro_clip.curate.item import Item
from datumaro_clip.errors import ImageError, OptionError
from datumaro_clip.evaluate.run import ComparedSet
from datumaro_clip.host.apply import DecidedItems, Replay
from datumaro_clip.host.causes import told_as_option_errors
from datumaro_clip.host.items import key_of, label_names, neutral
from datumaro_clip.host.sources import open_dataset, split_spec
from datumaro_clip.images import decode
from datumaro_clip.model.making.certificate import Sample
from datumaro_clip.vectors import ItemKey

log = logging.getLogger(__name__)


def image_text_samples(spec: str, limit: int) -> list[Sample]:
    """Draw pictures of a dataset with their captions and labels; the same ones each time.

    Parameters
    ----------
    spec : str
        ``DATASET`` or ``DATASET:FORMAT``, as ``datum`` takes it.
    limit : int
        Most samples. Pictures that cannot be decoded are passed over, and counted in the log.

    Raises
    ------
    OptionError
        If the dataset cannot be read, or has no picture that can be decoded.
    """
    dataset = open_dataset(spec)
    classes = label_names(dataset.categories())
    items = [item for each in dataset if (item := neutral(each, classes)).picture is not None]
    random.Random(0).shuffle(items)
    samples: list[Sample] = []
    failed = 0
    for item in items:
        if len(samples) == limit:
            break
        try:
            picture = item.fetch()
            decode(picture)
        except ImageError as exc:
            failed += 1
            log.debug("passed over %s: %s", item.key, exc)
            continue
        samples.append(Sample(picture, tuple(caption.text for caption in item.captions), item.label))
    if failed:
        log.warning("%d pictures that cannot be decoded were passed over", failed)
    if not samples:
        raise OptionError(f"{spec} has no picture that can be decoded")
    return samples


def open_compared(raw: str, curated: Sequence[str]) -> list[ComparedSet]:
    """Open the raw dataset, then the curated ones.

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
        if Path(spec).suffix != ".jsonl":
            found.append(ComparedSet(name, spec, _items(spec, open_dataset(spec))))
            continue
        decided = read_decisions(spec)
        DecidedItems(decided, source.categories()).require_keys(key_of(item) for item in source)
        moved = {
            ItemKey(one.key.id, one.subset): one.key for one in decided.decisions if one.action == "move" and one.subset
        }
        found.append(ComparedSet(name, spec, _items(spec, Replay(source, log=decided)), moved))
    return found


def _items(spec: str, dataset: Dataset | Replay) -> list[Item]:
    with told_as_option_errors(spec):
        classes = label_names(dataset.categories())
        return [neutral(item, classes) for item in dataset]


def _name(spec: str) -> str:
    """Return the name of a folder or a store; of decisions, that of the report's folder that they are in."""
    path = Path(split_spec(spec)[0])
    return (path.resolve().parent if path.name == "decisions.jsonl" else path.resolve()).name or spec
