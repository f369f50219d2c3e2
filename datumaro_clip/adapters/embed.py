"""The transform ``clip_embed``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.adapters.embedding import ItemEmbedding, attach, with_embeddings
from datumaro_clip.adapters.options import EmbeddingOptions, add_embedding_options


class ClipEmbed(Transform):
    """
    Embeds each item's picture with CLIP on OpenVINO, and keeps the vector in the item's attribute
    'clip_embedding'.|n
    |n
    Items that carry a vector of the same model keep it; vectors computed before come from the cache. With '--store'
    the vectors, and those of captions or labels ('--texts'), are written to an embedding store too.|n
    |n
    Example:|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --store STORE
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the transform's options."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_embedding_options(parser, overwrite=True)
        return parser

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor)
        self._options = EmbeddingOptions.take_from(options)
        if options:
            raise TypeError(f"clip_embed has no option {', '.join(sorted(options))}")
        self._length = "parent" if self._options.on_error != "skip" else None

    def __iter__(self) -> Iterator[DatasetItem]:
        for found in self._embedded():
            yield found.item if found.embedding is None else attach(found.item, found.embedding)

    def _embedded(self) -> Iterator[ItemEmbedding]:
        source = self._extractor
        return with_embeddings(source, self._options, source.categories(), total=len(source))
