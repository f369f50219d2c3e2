"""Finds what a format does not keep of a dataset.

A few items that have all kinds of annotations and attributes are written in the format, and read again.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem

from datumaro_clip.host.causes import in_one_line
from datumaro_clip.host.specs import PLUGINS, store_plugins
from datumaro_clip.system.notices import notice
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE

log = logging.getLogger(__name__)

#: A type of annotations or ``item``, and an attribute of it; an empty one is the annotation itself.
Kind = tuple[str, str]
# Not counted: a store and the cache have the vectors; COCO numbers pictures by ``id``, which is a source's own.
_NOT_COUNTED = frozenset({EMBEDDING_ATTRIBUTE, "id"})
# Outlines come back as either.
_SAME = {"mask": "polygon", "polygon": "mask"}


@dataclass(frozen=True)
class Losses:
    """What a format did not keep of a dataset.

    Attributes
    ----------
    format : str
    counts : collections.Counter
        Annotations, and values of attributes, by kind.
    problem : str
        Why it is not known what was lost; empty where it is.
    """

    format: str
    counts: Counter[Kind] = field(default_factory=Counter)
    problem: str = ""

    def __str__(self) -> str:
        kinds = ((f"{name} of {kind}" if name else kind, count) for (kind, name), count in self.counts.items())
        told = ", ".join(f"{kind} {count}" for kind, count in kinds)
        return f"{self.counts.total()} annotations and attributes ({told})" if self.counts else "nothing"

    @property
    def in_short(self) -> str:
        """The number, as the end of a line that says what was written; empty where nothing is known to be lost."""
        return f"; {self.counts.total()} annotations and attributes lost" if self.counts else ""

    def tell(self, place: str = "") -> None:
        """Warn of them, and name formats that keep them; ``place`` says where ``-f`` goes."""
        if self.problem:
            notice(log, "Not known what %s keeps of this: %s", self.format, self.problem)
        elif self.counts:
            ways = " or ".join(f"-f {each}" for each in ("datumaro", "clip_mmap") if each != self.format)
            notice(log, "Lost in %s: %s; %s%s keeps them", self.format, self, ways, place)


def write(dataset: Dataset, path: Path, format: str, **options: Any) -> Losses:
    """Export a dataset; return what the format does not keep of it."""
    dataset.export(str(path), format, **options)
    return losses_of(dataset, format, options)


@contextmanager
def telling_losses(place: str = "") -> Iterator[None]:
    """Around a command of Datumaro's: if it ends well, warn at its end of what its exports lose.

    ``place`` says where the command takes ``-f``.
    """
    export, written = Dataset.export, []

    def noting(dataset: Any, save_dir: str, format: Any, **options: Any) -> None:
        export(dataset, save_dir, format, **options)
        written.append((dataset, format if isinstance(format, str) else format.NAME, options))

    Dataset.export = noting
    try:
        yield
    finally:
        Dataset.export = export
    for dataset, format, options in written:
        losses_of(dataset, format, options).tell(place)


def losses_of(dataset: Dataset, format: str, options: Mapping[str, Any]) -> Losses:
    """Find what a format does not keep of a dataset.

    Parameters
    ----------
    dataset : datumaro.components.dataset.Dataset
    format : str
        One of this package's keeps all, or tells itself what it does not.
    options : mapping
        Of the exporter.
    """
    if format in {plugin.name for plugin in (*PLUGINS, *store_plugins()) if plugin.kind == "Exporter"}:
        return Losses(format)
    counts: Counter[Kind] = Counter()
    subsets: set[str] = set()
    samples: list[DatasetItem] = []
    for item in dataset:
        kinds = list(_kinds(item))
        if item.subset not in subsets or any(kind not in counts for kind in kinds):
            samples.append(item)
        subsets.add(item.subset)
        counts.update(kinds)
    if not counts:
        return Losses(format)
    sent = Counter(kind for item in samples for kind in _kinds(item))
    try:
        found = Counter(kind for item in _written_and_read(dataset, samples, format, options) for kind in _kinds(item))
    except Exception as exc:  # The plugins that write and read the format may raise anything.
        return Losses(format, problem=f"a few items in it cannot be read again ({in_one_line(exc)})")
    lost: Counter[Kind] = Counter()
    for (kind, name), count in counts.items():
        as_other = (_SAME.get(kind, ""), name)
        if not found[kind, name] and found[as_other] <= sent[as_other]:
            lost[kind, name] = count
    # An attribute is lost with its annotation, and not counted beside it.
    return Losses(format, Counter({kind: n for kind, n in lost.items() if not (kind[1] and (kind[0], "") in lost)}))


def _written_and_read(
    dataset: Dataset, samples: list[DatasetItem], format: str, options: Mapping[str, Any]
) -> list[DatasetItem]:
    """Return items as they come back from a format; nothing is logged meanwhile."""
    some = with_items(dataset, samples)
    # Datumaro's importers set what ``logging.disable`` says.
    handlers, logging.root.handlers = logging.root.handlers, [logging.NullHandler()]
    try:
        with tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
            # Without their pictures, many formats cannot be read.
            some.export(folder, format, **{**options, "save_media": True})
            # A format that is only written may be read as another.
            read_as = format if format in dataset.env.importers else None
            return list(Dataset.import_from(folder, read_as, env=dataset.env))
    finally:
        logging.root.handlers = handlers


def _kinds(item: DatasetItem) -> Iterator[Kind]:
    yield from (("item", name) for name in item.attributes if name not in _NOT_COUNTED)
    for note in item.annotations:
        yield note.type.name, ""
        yield from ((note.type.name, name) for name in note.attributes if name not in _NOT_COUNTED)


def with_items(dataset: Dataset, items: Iterable[DatasetItem]) -> Dataset:
    """Return a dataset with the description of another, and these of its items."""
    return Dataset.from_iterable(
        items, infos=dataset.infos(), categories=dataset.categories(), media_type=dataset.media_type(), env=dataset.env
    )
