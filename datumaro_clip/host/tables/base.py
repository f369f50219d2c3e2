"""Tables as datasets, read lazily."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.importer import ImportContext
from datumaro.components.media import Image

from datumaro_clip.host.tables.items import categories_of, item_of
from datumaro_clip.tables.dataset import ShardDataset, TableDataset
from datumaro_clip.tables.options import TableOptions
from datumaro_clip.tables.origin import Origin

#: The key of a dataset's infos under which it remembers its table's form.
INFO = "clip_table"


class ClipTableBase(DatasetBase):
    """Image–text tables, read row by row; opening reads them once, to know labels and count rows."""

    READER: ClassVar[type[TableDataset]] = TableDataset

    def __init__(self, url: str, stream: bool = False, ctx: ImportContext | None = None, **options: Any) -> None:
        self._url, self._stream, self._given = url, stream, options
        self.tables = self.READER(Path(url), TableOptions.from_mapping(options, self.NAME))
        survey = self.tables.survey
        self._categories = categories_of(survey.labels)
        self._infos = {INFO: Origin.of(self.tables).to_info()}
        super().__init__(length=survey.records, subsets=list(survey.subsets) or None, media_type=Image, ctx=ctx)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (type(self), self._url, self._stream, self._given)

    def __iter__(self) -> Iterator[DatasetItem]:
        names = self._categories.get(AnnotationType.label)
        indices = {} if names is None else {label.name: index for index, label in enumerate(names)}
        return (item_of(record, indices) for record in self.tables)

    def infos(self) -> dict[str, Any]:
        """What the dataset says of itself: the form of its table."""
        return self._infos

    def categories(self) -> dict[Any, Any]:
        """Labels, in order of appearance."""
        return self._categories

    @property
    def is_stream(self) -> bool:
        """Whether items shall not be kept by who reads them."""
        return self._stream


class ClipWebdatasetBase(ClipTableBase):
    """WebDataset shards, whose pictures stay in their archives until they are asked for."""

    READER = ShardDataset


def _opened(kind: type[ClipTableBase], url: str, stream: bool, options: dict[str, Any]) -> ClipTableBase:
    return kind(url, stream, **options)
