"""The model of one run over a dataset, with the one vector space and the cache that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.summary import EmbeddingSummary
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import (
    EmbedResult,
    ImageRequest,
    PartsRequest,
    PartsResult,
    embed_images,
    embed_parts,
    embed_texts,
)
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import ImageError, InvalidVectorError, SpaceMismatchError
from datumaro_clip.images import ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.vectors import Embedding, FloatArray, ObjectEmbedding, VectorSpace


class RunModel:
    """Found once in a run, and only if something needs it; every vector of the run is of its space.

    Attributes
    ----------
    options : EmbeddingOptions
    summary : EmbeddingSummary
        What has happened so far.
    """

    def __init__(self, options: EmbeddingOptions) -> None:
        self.options = options
        self.summary = EmbeddingSummary()
        self._space: VectorSpace | None = None
        self._encoder: Encoder | None = None
        self._cache: VectorCache | None = None

    @property
    def encoder(self) -> Encoder:
        """The model, found on first use."""
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder

    @property
    def fingerprint(self) -> str | None:
        """The vector space of this run; None as long as nothing needed one."""
        return None if self._space is None else self._space.fingerprint

    @property
    def device(self) -> str:
        """Where this run computes; ``unknown`` as long as nothing needed a model."""
        return "unknown" if self._encoder is None else self._encoder.provenance.device

    @property
    def cache(self) -> VectorCache | None:
        """The vector cache, opened on first use; None where it is off."""
        if self._cache is None and self.options.cache != "off":
            self._cache = VectorCache(self.options.cache)
        return self._cache

    def flush(self) -> None:
        """Keep in the cache what this run computed."""
        if self._cache is not None:
            self._cache.flush()

    def fix_space(self, items: Iterable[Item]) -> None:
        """Before the first item: the space of the model that was named, else of the vectors among the items.

        Items before the first that carries a vector then get theirs from the same model; where items come one by one
        and are not a sequence, the first one decides.
        """
        if self.options.model is not None:
            self._space = self.encoder.space
        elif isinstance(items, Sequence):
            carried = (item.embedding for item in items)
            found = (embedding.vector_space for embedding in carried if embedding is not None)
            self._space = self._space or next(found, None)

    def kept(self, item: Item) -> Embedding | None:
        """The vector that an item carries and keeps; None where one has to be computed.

        Raises
        ------
        SpaceMismatchError
            If it is of another space than the run's.
        """
        embedding = item.embedding
        if embedding is None or (self.options.recompute and self._space not in (None, embedding.vector_space)):
            return None
        self._require_space(
            embedding.vector_space, f"item '{item.key.id}' (subset '{item.key.subset}') carries a vector of"
        )
        return embedding

    def kept_object(self, item: Item, box: ItemBox) -> ObjectEmbedding | None:
        """The vector that an object carries, which stays if it is of this picture and box; as :meth:`kept`."""
        try:
            embedding = box.embedding
        except InvalidVectorError as exc:
            raise InvalidVectorError(f"item '{item.key.id}' (subset '{item.key.subset}'), {exc}") from exc
        if embedding is None or not embedding.source:
            return None
        if self.options.recompute and self._space not in (None, embedding.vector_space):
            return None
        who = f"annotation {box.annotation} of item '{item.key.id}' (subset '{item.key.subset}') carries a vector of"
        self._require_space(embedding.vector_space, who)
        return embedding

    def embed(self, requests: Iterable[ImageRequest]) -> Iterator[EmbedResult]:
        """Embed pictures as the run's options say; see :func:`datumaro_clip.embedding.embed_images`."""
        options = self.options
        return embed_images(
            requests,
            self.encoder,
            cache=self.cache,
            batch_size=options.batch_size,
            threads=options.threads,
            exact_decode=options.exact_decode,
        )

    def embed_parts(self, requests: Iterable[PartsRequest]) -> Iterator[PartsResult]:
        """Embed parts of pictures as the run's options say; see :func:`datumaro_clip.embedding.embed_parts`."""
        options = self.options
        return embed_parts(
            requests,
            self.encoder,
            cache=self.cache,
            batch_size=options.batch_size,
            threads=options.threads,
            exact_decode=options.exact_decode,
        )

    def text_vectors(self, texts: Sequence[str]) -> FloatArray:
        """One unit row a text, (T, D), float32; texts that are cut are counted in the summary."""
        found = embed_texts(texts, self.encoder, cache=self.cache, on_cut=self.summary.count_cut)
        return np.asarray(found, np.float32)

    def picture_vector(self, image: ImageLike) -> FloatArray:
        """The unit vector (D,) of a picture, float32; :class:`ImageError` if it cannot be decoded."""
        (result,) = self.embed([ImageRequest(image)])
        if result.vector is None:
            raise result.error or ImageError("unreadable", "no vector was computed")
        return np.asarray(result.vector, np.float32)

    def embedding_of(self, vector: FloatArray) -> Embedding:
        """A vector that this run computed, with the space and the precision that it is of."""
        provenance = self.encoder.provenance
        return Embedding(vector, provenance.space.fingerprint, provenance.space.model, provenance.precision)

    def object_embedding_of(self, result: EmbedResult, box: ItemBox) -> ObjectEmbedding:
        """An object's vector that this run has, with what it is of."""
        assert result.vector is not None
        whole = self.embedding_of(result.vector)
        return ObjectEmbedding(whole.vector, whole.space, whole.model, whole.precision, box.bbox, result.origin)

    def _load(self) -> Encoder:
        options = self.options
        encoder = load_model(
            options.model or self._model_of_items(),
            device=options.device,
            precision=options.precision,
            local_files_only=options.local_files_only,
            self_check=options.self_check,
            streams=options.streams,
        )
        self._require_space(encoder.space, "the model computes vectors of")
        self.summary.computed_by(encoder)
        return encoder

    def _model_of_items(self) -> str | None:
        """The space that the items' own vectors are of, by which their model is found; None where they have none."""
        space = self._space
        return space.fingerprint if space is not None and space.fingerprint.startswith("sha256:") else None

    def _require_space(self, space: VectorSpace, who: str) -> None:
        if self._space is None:
            self._space = space
        if self._space != space:
            raise SpaceMismatchError(
                f"{who} {space}, but this run is in {self._space}. "
                "Name one model with --model, and compute the others again with --recompute"
            )
