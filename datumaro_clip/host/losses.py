"""What a format does not keep of a dataset: a few items that show all its kinds are written so, and read again."""

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
_ITEM = "item"
# A store and the cache have the vectors; COCO numbers pictures by ``id``, which is a source's own.
_UNTOLD = frozenset({EMBEDDING_ATTRIBUTE, "id"})
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
        kinds = ", ".join(f"{_told(kind)} {count}" for kind, count in self.counts.items())
        return f"{self.counts.total()} annotations and attributes ({kinds})" if self.counts else "nothing"

    @property
    def in_short(self) -> str:
        """The number, as the end of a line that says what was written; empty where nothing is known to be lost."""
        return f"; {self.counts.total()} annotations and attributes lost" if self.counts else ""

    def tell(self, place: str = "") -> None:
        """Warn of them, with what keeps them; ``place`` says where ``-f`` goes."""
        if self.problem:
            notice(log, "Not known what %s keeps of this: %s", self.format, self.problem)
        elif self.counts:
            ways = " or ".join(f"-f {each}" for each in ("datumaro", "clip_mmap") if each != self.format)
            notice(log, "Lost in %s: %s; %s%s keeps them", self.format, self, ways, place)


def write(dataset: Dataset, path: Path, format: str, **options: Any) -> Losses:
    """Export a dataset; what the format does not keep of it."""
    dataset.export(str(path), format, **options)
    return losses_of(dataset, format, options)


@contextmanager
def telling_losses(place: str = "") -> Iterator[None]:
    """Around a command of Datumaro's: what its exports lose is its last line, where it ends well.

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
    """What a format does not keep of a dataset.

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
    sent = _counted(samples)
    try:
        found = _counted(_written_and_read(dataset, samples, format, options))
    except Exception as exc:  # Of whatever plugin writes or reads the format.
        return Losses(format, problem=f"a few items in it cannot be read again ({in_one_line(exc)})")
    lost = [kind for kind in counts if not _is_kept(kind, sent, found)]
    # An annotation takes its attributes along.
    return Losses(format, Counter({kind: counts[kind] for kind in lost if not (kind[1] and (kind[0], "") in lost)}))


def _written_and_read(
    dataset: Dataset, samples: list[DatasetItem], format: str, options: Mapping[str, Any]
) -> list[DatasetItem]:
    """Items as they come back from a format."""
    some = Dataset.from_iterable(
        samples,
        infos=dataset.infos(),
        categories=dataset.categories(),
        media_type=dataset.media_type(),
        env=dataset.env,
    )
    with _silence(), tempfile.TemporaryDirectory(prefix="datumaro-clip-") as folder:
        # Without their pictures, many formats cannot be read.
        some.export(folder, format, **{**options, "save_media": True})
        # A format that is only written may be read as another.
        return list(Dataset.import_from(folder, format if format in dataset.env.importers else None, env=dataset.env))


@contextmanager
def _silence() -> Iterator[None]:
    """Let nothing be logged; Datumaro's importers set what ``logging.disable`` says."""
    handlers, logging.root.handlers = logging.root.handlers, [logging.NullHandler()]
    try:
        yield
    finally:
        logging.root.handlers = handlers


def _kinds(item: DatasetItem) -> Iterator[Kind]:
    yield from ((_ITEM, name) for name in item.attributes if name not in _UNTOLD)
    for note in item.annotations:
        yield note.type.name, ""
        yield from ((note.type.name, name) for name in note.attributes if name not in _UNTOLD)


def _counted(items: Iterable[DatasetItem]) -> Counter[Kind]:
    return Counter(kind for item in items for kind in _kinds(item))


def _is_kept(kind: Kind, sent: Counter[Kind], found: Counter[Kind]) -> bool:
    """Whether a kind comes back, as it is or as what it may be turned into."""
    other = (_SAME.get(kind[0], ""), kind[1])
    return found[kind] > 0 or found[other] > sent[other]


def _told(kind: Kind) -> str:
    return f"{kind[1]} of {kind[0]}" if kind[1] else kind[0]
