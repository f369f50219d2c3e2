"""Replaying decisions on a dataset: what a transform left, again, without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.decisions import DecisionLog
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import DecidedItems, key_of
from datumaro_clip.host.items import with_labels
from datumaro_clip.host.sources import open_dataset


def replay(log: DecisionLog, pathspec: str, output: Path, form: str | None, *, save_media: bool = False) -> int:
    """Write the dataset as the decisions leave it.

    Parameters
    ----------
    log : DecisionLog
    pathspec : str
        ``PATH[:FORMAT]``.
    output : Path
    form : str, optional
        Name of the format to write; the source's where omitted.

    Returns
    -------
    int
        Number of items written.

    Raises
    ------
    OptionError
        If the dataset cannot be read, or not be written so or there.
    DecisionError
        If it lacks an item that was decided about.
    """
    dataset = open_dataset(pathspec)
    form = form or dataset.format
    if form not in dataset.env.exporters:
        raise OptionError(f"no dataset can be written as {form}; name another format with -f: datum convert --help")
    if output.is_dir() and any(output.iterdir()):
        raise OptionError(f"{output} is not empty; name a new directory")
    DecidedItems(log, dataset.categories()).require_keys(key_of(item) for item in dataset)
    dataset.transform(Replay, log=log)
    dataset.export(str(output), form, save_media=save_media)
    return len(dataset)


class Replay(Transform):
    """Items as a log of decisions leaves them."""

    def __init__(self, extractor: IDataset, log: DecisionLog) -> None:
        super().__init__(extractor)
        self._log = log

    def categories(self) -> Any:
        """The dataset's categories, with the labels that decisions add."""
        told = [one.label for one in self._log.decisions if one.action == "label" and one.label]
        return with_labels(self._extractor.categories(), told)

    def __iter__(self) -> Iterator[DatasetItem]:
        yield from DecidedItems(self._log, self.categories()).apply(self._extractor)
