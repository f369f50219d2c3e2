"""From each of Datumaro's formats into both stores and back; as a script, it writes the table of docs/formats.md."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.environment import DEFAULT_ENVIRONMENT
from datumaro.components.media import Image, MediaElement, PointCloud, TableRow
from format_samples import EXPORT_OPTIONS, EXPORTERS, IMPORTERS, write_sample

import datumaro_clip
from datumaro_clip.host.embedding import attach
from datumaro_clip.host.items import image_request
from datumaro_clip.store import kind_names
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.vectors import EMBEDDING_ATTRIBUTE, Embedding

PAGE = Path(__file__).resolve().parents[1] / "docs" / "formats.md"
HEADING = (
    "| format | items | media | annotations | `clip_hdf5` | `clip_mmap` | to the format again |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
ENCODER = FakeEncoder()


def format_names() -> list[str]:
    """Every exporter of Datumaro's own."""
    return sorted(name for name in DEFAULT_ENVIRONMENT.exporters if not name.startswith("clip_"))


def embedded(item: DatasetItem) -> DatasetItem:
    """An item with its picture's vector; one without a picture as it is."""
    if not isinstance(item.media, Image):
        return item
    image = image_request(item).image
    vector = ENCODER.embed_images([image() if callable(image) else image])[0]
    return attach(item, Embedding(vector, ENCODER.space.fingerprint, ENCODER.space.model, "f32"))


def differences(found: Dataset, wanted: Dataset) -> list[str]:
    """What is not equal: the dataset's facts, then item by item."""
    facts = ("categories", "infos", "media_type")
    different = [name for name in facts if getattr(found, name)() != getattr(wanted, name)()]
    items, others = ({(item.id, item.subset): item for item in dataset} for dataset in (found, wanted))
    if items.keys() != others.keys():
        return [*different, f"items {items.keys() ^ others.keys()}"]
    return different + [f"{key} {what}" for key in items for what in item_differences(items[key], others[key])]


def item_differences(found: DatasetItem, wanted: DatasetItem) -> list[str]:
    """The parts of an item that are not equal; annotations in order, with ids, groups and attributes."""
    parts = {
        "media": same_media(found.media, wanted.media),
        "annotations": list(map(facts, found.annotations)) == list(map(facts, wanted.annotations)),
        "attributes": found.attributes == wanted.attributes,
    }
    return [name for name, same in parts.items() if not same]


def facts(annotation: Any) -> tuple[Any, ...]:
    """What Datumaro's own comparison leaves out of some kinds."""
    a = annotation
    return a.type, a.id, a.group, a.object_id, a.attributes, getattr(a, "label", None), a


def same_media(found: MediaElement | None, wanted: MediaElement | None) -> bool:
    """Pictures by pixel, clouds by byte, rows by value."""
    if isinstance(wanted, Image) and isinstance(found, Image):
        return wanted.data is not None and np.array_equal(found.data, wanted.data)
    if isinstance(wanted, TableRow) and isinstance(found, TableRow):
        return found.data() == wanted.data()
    return found == wanted


@dataclass
class Outcome:
    """What became of one format's sample."""

    name: str
    source: Dataset
    through: dict[str, list[str]]
    again: dict[str, list[str]]

    @property
    def row(self) -> str:
        """The format's line of the table."""
        media = {"picture": Image, "point cloud": PointCloud, "table row": TableRow}
        kinds = sorted({annotation.type.name for item in self.source for annotation in item.annotations})
        shown = [name for name, kind in media.items() if any(isinstance(i.media, kind) for i in self.source)]
        again = "same" if not any(self.again.values()) else "differs"
        passed = ["equal" if not self.through[kind] else "differs" for kind in kind_names()]
        cells = [f"`{self.name}`", str(len(self.source)), ", ".join(shown), ", ".join(kinds) or "none", *passed, again]
        return f"| {' | '.join(cells)} |\n"


def try_format(name: str, folder: Path) -> Outcome:
    """Write the sample, import, embed, store, import, compare, export to the format again, compare."""
    source = write_sample(name, folder / "source")
    once_more = reexported(source, name, folder / "again")
    outcome = Outcome(name, source, {}, {})
    for kind in kind_names():
        carrying = Dataset.from_iterable(
            [embedded(item) for item in source],
            infos=source.infos(),
            categories=source.categories(),
            media_type=source.media_type(),
        )
        carrying.export(str(folder / kind), kind, save_media=True, no_embed=True)
        back = Dataset.import_from(str(folder / kind))
        outcome.through[kind] = [f"format {back.format}"] * (back.format != kind) + differences(back, carrying)
        for item in back:
            item.attributes.pop(EMBEDDING_ATTRIBUTE, None)
        again = reexported(back, name, folder / f"{kind}-again")
        # A format that encodes pictures anew loses a little each time; what the store held as a file it copies.
        outcome.again[kind] = min(differences(again, once_more), differences(again, source), key=len)
    return outcome


def reexported(dataset: Dataset, name: str, folder: Path) -> Dataset:
    """A dataset after Datumaro wrote and read it."""
    dataset.export(str(folder), EXPORTERS.get(name, name), save_media=True, **EXPORT_OPTIONS.get(name, {}))
    return Dataset.import_from(str(folder), IMPORTERS.get(name, name))


def write_page() -> None:
    """Put the table into the page, between its heading and what follows it."""
    rows = []
    for name in format_names():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(try_format(name, Path(folder)).row)
    text = PAGE.read_text(encoding="utf-8")
    table = re.compile(re.escape(HEADING) + r"(\|.*\n)*")
    PAGE.write_text(table.sub(lambda _: HEADING + "".join(rows), text), encoding="utf-8")


if __name__ == "__main__":
    datumaro_clip.register()
    write_page()
