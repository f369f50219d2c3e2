"""The transform ``clip_embed``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.objects import (
    CROP_OPTIONS,
    DETECTION_OPTIONS,
    OBJECTS_OPTION,
    CropOptions,
    Objects,
    detection_options,
    load_detector,
)
from datumaro_clip.curate.options import Values, add_options, read_options
from datumaro_clip.errors import OptionError
from datumaro_clip.host.carried import attach
from datumaro_clip.host.codec.items import describe_dataset
from datumaro_clip.host.embedding import Embedder, ItemEmbedding
from datumaro_clip.host.items import label_names, with_labels
from datumaro_clip.host.objects import class_numbers, missing_labels, with_objects
from datumaro_clip.host.options import EmbeddingOptions, add_embedding_options, require_choice
from datumaro_clip.host.precomputed import PrecomputedVectors
from datumaro_clip.host.storing import ItemStorer, MediaOptions, provenance_of
from datumaro_clip.store import create_store, kind_names

log = logging.getLogger(__name__)

OBJECT_OPTIONS = (OBJECTS_OPTION, *CROP_OPTIONS, *DETECTION_OPTIONS)


@dataclass(frozen=True)
class EmbedOptions:
    """What ``clip_embed`` is told.

    Attributes
    ----------
    embedding : EmbeddingOptions
    objects : Values
        Of :data:`OBJECT_OPTIONS`.
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
    objects: Values
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
        named = {option.python_name for option in OBJECT_OPTIONS}
        objects = read_options(OBJECT_OPTIONS, {name: rest.pop(name) for name in named & set(rest)}, "clip_embed")
        if objects.detector is not None and not objects.objects:
            raise OptionError("--detector goes with --objects; clip_detect adds boxes without vectors")
        embedding = EmbeddingOptions.take_from(rest)
        if objects.objects:
            # One decoding serves the picture and its objects, so the picture is decoded as they need it.
            embedding = replace(embedding, exact_decode=True)
        unknown = set(rest) - {field.name for field in fields(cls)}
        if unknown:
            raise OptionError(f"clip_embed has no option {', '.join(sorted(unknown))}")
        paths = {name: Path(rest.pop(name)) for name in ("store", "vectors", "keys") if rest.get(name) is not None}
        return cls(embedding, objects, **{**rest, **paths})


class ClipEmbed(Transform):
    """
    Embeds each item's picture with CLIP on OpenVINO, and keeps the vector in the item's attribute
    'clip_embedding'.|n
    |n
    Items that carry a vector of the same model keep it; vectors computed before come from the cache. With '--store'
    the items, their vectors, and those of captions or labels ('--texts'), are written to an embedding store too.
    With '--objects' each box, polygon and mask gets a vector of its own part of the picture, and with '--detector' the
    objects that a detector finds are added first. With '--vectors' the vectors come from a file, and no model is
    needed.|n
    |n
    Examples:|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --store STORE|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --model tiny --objects --store STORE|n
    |s|sdatum transform -t clip_embed -o OUT path/to/coco:coco -- --vectors v.npy --keys k.csv --space mine
    """

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the transform's options."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_embedding_options(parser, overwrite=True)
        add_options(parser, OBJECT_OPTIONS)
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

    @cached_property
    def _objects(self) -> Objects | None:
        """Whose vectors are wanted beside the pictures'; the detector, if there is one, is loaded."""
        told = self._options.objects
        if not told.objects:
            return None
        crop, detection = CropOptions.among(vars(told)), detection_options(vars(told))
        if told.detector is None:
            return Objects(crop)
        detector = load_detector(told.detector, self._options.embedding.device)
        detector.indices_of(told.classes)
        return Objects(crop, detector, detection)

    def categories(self) -> Any:
        """The dataset's categories, with the classes of the detector, if there is one, that they lacked."""
        known = self._extractor.categories()
        if self._options.objects.detector is None or self._objects is None:
            return known
        return with_labels(known, missing_labels(label_names(known), self._objects))

    def __iter__(self) -> Iterator[DatasetItem]:
        categories = self.categories()
        embedder = Embedder(self._options.embedding, categories, objects=self._objects)
        detector = None if self._objects is None else self._objects.detector
        fingerprint = "" if detector is None else detector.fingerprint
        numbers = {} if detector is None else class_numbers(label_names(categories), detector.labels)
        with self._storer() as storer:
            for found in self._found(embedder):
                if self._objects is not None:
                    item = with_objects(found.item, found.objects, found.detected, fingerprint, numbers)
                    found = replace(found, item=item)
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
        options, source, categories = self._options, self._extractor, self.categories()
        if options.store is None or self._stored:
            yield None
            return
        header = describe_dataset(categories, source.infos(), source.media_type())
        overwrite = options.embedding.overwrite
        with create_store(options.store, options.store_format, header, overwrite=overwrite) as writer:
            storer = ItemStorer(writer, MediaOptions(), label_names(categories))
            yield storer
            storer.report()
        self._stored = True
        log.info("Store written to '%s'", options.store)
