"""The transform ``clip_embed``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.objects import EMBEDDED_OPTIONS, Objects, as_objects_need, wanted_objects
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.errors import OptionError
from datumaro_clip.host.codec.items import describe_dataset
from datumaro_clip.host.embedding import Embedder, attach, with_detected_labels
from datumaro_clip.host.precomputed import PrecomputedVectors
from datumaro_clip.host.storing import ItemStorer, provenance_of, refuse_another_size
from datumaro_clip.host.transform import DeclaredTransform
from datumaro_clip.options import Choice, File, Option, Text, Values
from datumaro_clip.store import create_store, kind_names

log = logging.getLogger(__name__)


class ClipEmbed(DeclaredTransform):
    """
    Embeds each item's picture with CLIP on OpenVINO, and keeps the vector in the item's attribute
    'clip_embedding'.|n
    |n
    An item that has a vector of the same model keeps it; vectors computed before come from the cache. '--store' also
    writes the items and vectors to a store, '--texts' embeds captions or labels too, '--objects' gives each box,
    polygon and mask a vector of its own, '--detector' first adds the objects that a detector finds. '--vectors' takes
    the vectors from a file; then no model is needed.|n
    |n
    Examples:|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --store STORE|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --objects --store STORE|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --vectors v.npy --keys k.csv --space mine
    """

    NAME = "clip_embed"

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the table: the common options, those of objects, of the store, and of vectors computed elsewhere."""
        store, elsewhere = partial(Option, group="store"), partial(Option, group="vectors computed elsewhere")
        return (
            *EMBEDDED_OPTIONS,
            store("store", File(metavar="DIR"), None, "also write a store here"),
            store("store-format", Choice(names=tuple(kind_names())), "clip_hdf5", "kind of the store"),
            elsewhere("vectors", File(metavar="FILE.npy"), None, "file of vectors computed elsewhere, shape (N, D)"),
            elsewhere("keys", File(), None, "table that names the item of each vector, .csv or .parquet"),
            elsewhere("space", Text(metavar="NAME"), None, "name of their vector space"),
        )

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Values:
        """Check what was given by keyword, one by one and together."""
        values = Values(**as_objects_need(vars(super().read(given))))
        if (values.vectors is None) != (values.keys is None):
            raise OptionError("--vectors and --keys go together: the vectors, and which items they belong to")
        return values

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor, **options)
        self._stored = False

    @cached_property
    def _objects(self) -> Objects | None:
        """The objects to embed beside the pictures; a detector is loaded on first use."""
        return wanted_objects(vars(self.values))

    def categories(self) -> Any:
        """Return the dataset's categories, with the classes added that a detector may find."""
        return with_detected_labels(self._extractor.categories(), self._objects)

    def __iter__(self) -> Iterator[DatasetItem]:
        embedder = Embedder(EmbeddingOptions.among(vars(self.values)), self.categories(), objects=self._objects)
        values, source = self.values, self._extractor
        if values.vectors is not None:
            vectors = PrecomputedVectors(Path(values.vectors), Path(values.keys), values.space or "")
            results = vectors.attached(source, values.on_error)
        else:
            # Of another transform, asking for the length may cost a pass over it.
            results = embedder.run(source, None if isinstance(source, Transform) else len(source))
        with self._storer() as storer:
            for found in results:
                if storer is not None:
                    storer.add(found, provenance_of(found, embedder))
                yield found.item if found.embedding is None else attach(found.item, found.embedding)

    @contextmanager
    def _storer(self) -> Iterator[ItemStorer | None]:
        """Open the store, if one is to be written; it appears when the block ends, and is written once only."""
        values, source, categories = self.values, self._extractor, self.categories()
        if values.store is None or self._stored:
            yield None
            return
        header = describe_dataset(source, categories)
        if not values.recompute and not isinstance(source, Transform):
            refuse_another_size(Path(values.store), len(source), values.on_error)
        with create_store(values.store, values.store_format, header, overwrite=values.recompute, repeat=True) as writer:
            storer = ItemStorer(writer, categories)
            yield storer
            storer.report()
        self._stored = True
        log.info("Store written to '%s'", values.store)
