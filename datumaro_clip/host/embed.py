"""The transform ``clip_embed``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.errors import OptionError
from datumaro_clip.host.carried import attach
from datumaro_clip.host.codec.items import describe_dataset
from datumaro_clip.host.embedding import Embedder, ItemEmbedding
from datumaro_clip.host.items import label_names
from datumaro_clip.host.options import EmbeddingOptions, add_embedding_options, require_choice
from datumaro_clip.host.precomputed import PrecomputedVectors
from datumaro_clip.host.storing import ItemStorer, MediaOptions, provenance_of
from datumaro_clip.store import create_store, kind_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedOptions:
    """What ``clip_embed`` is told.

    Attributes
    ----------
    embedding : EmbeddingOptions
    store : Path, optional
        Where to write a store too.
    store_format : str
        ``clip_hdf5`` or ``clip_mmap``.
    vectors, keys : Path, optional
        Vectors computed elsewhere, and which items they belong to.
    space : str
        Name of their vector space.
    """

    embedding: EmbeddingOptions
    store: Path | None = None
    store_format: str = "clip_hdf5"
    vectors: Path | None = None
    keys: Path | None = None
    space: str = ""

    def __post_init__(self) -> None:
        require_choice("store_format", self.store_format, kind_names())
        if (self.vectors is None) != (self.keys is None):
            raise OptionError("--vectors and --keys go together: the vectors, and which items they belong to")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> EmbedOptions:
        """Read the transform's keyword arguments.

        Raises
        ------
        OptionError
            If there is no such option, or its value cannot be used.
        """
        rest = dict(given)
        embedding = EmbeddingOptions.take_from(rest)
        unknown = set(rest) - {field.name for field in fields(cls)}
        if unknown:
            raise OptionError(f"clip_embed has no option {', '.join(sorted(unknown))}")
        paths = {name: Path(rest.pop(name)) for name in ("store", "vectors", "keys") if rest.get(name) is not None}
        return cls(embedding, **{**rest, **paths})


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
        add("--store-format", choices=kind_names(), default="clip_hdf5", help="default: %(default)s")
        add = parser.add_argument_group("vectors computed elsewhere").add_argument
        add("--vectors", type=Path, metavar="FILE.npy", help="vectors, (N, D)")
        add("--keys", type=Path, metavar="FILE", help="which items they belong to: .csv or .parquet, a row a vector")
        add("--space", default="", metavar="NAME", help="a name for their vector space")
        return parser

    @classmethod
    def parse_cmdline(cls, args: Any = None) -> dict[str, Any]:
        """Read the command line; what cannot be used is refused before anything is done."""
        given: dict[str, Any] = super().parse_cmdline(args)
        EmbedOptions.read(given)
        return given

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor)
        # Datumaro drops a transform that raises here, and goes on without it: options are read when items are wanted.
        self._given = options
        self._length = "parent" if options.get("on_error") != "skip" else None
        self._stored = False

    @cached_property
    def _options(self) -> EmbedOptions:
        return EmbedOptions.read(self._given)

    def __iter__(self) -> Iterator[DatasetItem]:
        embedder = Embedder(self._options.embedding, self._extractor.categories())
        with self._storer() as storer:
            for found in self._found(embedder):
                if storer is not None:
                    storer.add(found, provenance_of(found, embedder))
                yield found.item if found.embedding is None else attach(found.item, found.embedding)

    def _found(self, embedder: Embedder) -> Iterator[ItemEmbedding]:
        if self._options.vectors and self._options.keys:
            vectors = PrecomputedVectors(self._options.vectors, self._options.keys, self._options.space)
            return vectors.attached(self._extractor)
        return embedder.run(self._extractor, len(self._extractor))

    @contextmanager
    def _storer(self) -> Iterator[ItemStorer | None]:
        """What adds items to the store; the store appears when the last item is in it, and is not written again."""
        options, source = self._options, self._extractor
        if options.store is None or self._stored:
            yield None
            return
        header = describe_dataset(source.categories(), source.infos(), source.media_type())
        overwrite = options.embedding.overwrite
        with create_store(options.store, options.store_format, header, overwrite=overwrite) as writer:
            storer = ItemStorer(writer, MediaOptions(), label_names(source.categories()))
            yield storer
            storer.report()
        self._stored = True
        log.info("Store written to '%s'", options.store)
