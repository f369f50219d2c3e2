"""The transform ``clip_embed``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.adapters.codec import describe_dataset
from datumaro_clip.adapters.embedding import Embedder, ItemEmbedding, attach
from datumaro_clip.adapters.options import EmbeddingOptions, add_embedding_options, require_choice
from datumaro_clip.adapters.precomputed import PrecomputedVectors
from datumaro_clip.adapters.storing import ItemStorer, MediaOptions, provenance_of
from datumaro_clip.errors import OptionError
from datumaro_clip.store import KIND_NAMES, create_store

log = logging.getLogger(__name__)


class ClipEmbed(Transform):
    """
    Embeds each item's picture with CLIP on OpenVINO, and keeps the vector in the item's attribute
    'clip_embedding'.|n
    |n
    Items that carry a vector of the same model keep it; vectors computed before come from the cache. With '--store'
    the items, their vectors, and those of captions or labels ('--texts'), are written to an embedding store too.
    With '--vectors' the vectors come from a file, and no model is needed.|n
    |n
    Examples:|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --store STORE|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --vectors v.npy --keys k.csv --space mine
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the transform's options."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_embedding_options(parser, overwrite=True)
        add = parser.add_argument_group("store").add_argument
        add("--store", type=Path, metavar="DIR", help="write an embedding store there too")
        add("--store-format", choices=KIND_NAMES, default=KIND_NAMES[0], help="default: %(default)s")
        add = parser.add_argument_group("vectors computed elsewhere").add_argument
        add("--vectors", type=Path, metavar="FILE.npy", help="vectors, (N, D)")
        add("--keys", type=Path, metavar="FILE", help="which items they belong to: .csv or .parquet, a row a vector")
        add("--space", default="", metavar="NAME", help="a name for their vector space")
        return parser

    def __init__(
        self,
        extractor: IDataset,
        *,
        store: str | Path | None = None,
        store_format: str = KIND_NAMES[0],
        vectors: str | Path | None = None,
        keys: str | Path | None = None,
        space: str = "",
        **options: Any,
    ) -> None:
        super().__init__(extractor)
        require_choice("store_format", store_format, KIND_NAMES)
        if (vectors is None) != (keys is None):
            raise OptionError("--vectors and --keys go together: the vectors, and which items they belong to")
        self._options = EmbeddingOptions.take_from(options)
        if options:
            raise TypeError(f"clip_embed has no option {', '.join(sorted(options))}")
        self._store = None if store is None else Path(store)
        self._store_format = store_format
        self._precomputed = PrecomputedVectors(Path(vectors), Path(keys), space) if vectors and keys else None
        self._length = "parent" if self._options.on_error != "skip" else None

    def __iter__(self) -> Iterator[DatasetItem]:
        embedder = Embedder(self._options, self._extractor.categories())
        with self._storer() as storer:
            for found in self._found(embedder):
                if storer is not None:
                    storer.add(found, provenance_of(found, embedder))
                yield found.item if found.embedding is None else attach(found.item, found.embedding)

    def _found(self, embedder: Embedder) -> Iterator[ItemEmbedding]:
        if self._precomputed is not None:
            return self._precomputed.attached(self._extractor)
        return embedder.run(self._extractor, len(self._extractor))

    @contextmanager
    def _storer(self) -> Iterator[ItemStorer | None]:
        """What adds items to the store; the store appears when the last item is in it."""
        if self._store is None:
            yield None
            return
        source = self._extractor
        header = describe_dataset(source.categories(), source.infos(), source.media_type())
        with create_store(self._store, self._store_format, header, overwrite=self._options.overwrite) as writer:
            storer = ItemStorer(writer, MediaOptions())
            yield storer
            storer.report()
        log.info("Store written to '%s'", self._store)
