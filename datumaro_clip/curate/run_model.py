"""The model of one run over a dataset, with the one vector space and the cache that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from datumaro_clip.curate.item import Item, ItemBox
from datumaro_clip.curate.summary import EmbeddingSummary
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.embedding import EmbedResult, ImageRequest, PartsRequest, PartsResult, embed_parts, embed_texts
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import ImageError, InvalidVectorError, SpaceMismatchError
from datumaro_clip.images import ImageLike
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.vectors import Embedding, FloatArray, ObjectEmbedding, VectorSpace

_Embedding = TypeVar("_Embedding", bound=Embedding)


class RunModel:
    """Loads the model on first use. All vectors of a run belong to its vector space.

    Attributes
    ----------
    options : EmbeddingOptions
    summary : EmbeddingSummary
        The counts so far.
    """

    def __init__(self, options: EmbeddingOptions) -> None:
        self.options = options
        self.summary = EmbeddingSummary()
        self._space: VectorSpace | None = None
        self._encoder: Encoder | None = None
        self._cache: VectorCache | None = None

    @property
    def encoder(self) -> Encoder:
        """The model, loaded on first use: the one named, else that of the items' own vectors, else the default."""
        if self._encoder is None:
            options, space = self.options, self.fingerprint or ""
            encoder = load_model(
                options.model or (space if space.startswith("sha256:") else None),
                device=options.device,
                precision=options.precision,
                local_files_only=options.local_files_only,
                self_check=options.self_check,
                streams=options.streams,
            )
            self._require_space(encoder.space, "the model computes vectors of")
            self.summary.computed_by(encoder)
            self._encoder = encoder
        return self._encoder

    @property
    def fingerprint(self) -> str | None:
        """The vector space of this run; None until it is known."""
        return None if self._space is None else self._space.fingerprint

    @property
    def device(self) -> str:
        """The device of this run; ``unknown`` until a model is loaded."""
        return "unknown" if self._encoder is None else self._encoder.provenance.device

    @property
    def cache(self) -> VectorCache | None:
        """The vector cache, opened on first use; None where it is off."""
        if self._cache is None and self.options.cache != "off":
            self._cache = VectorCache(self.options.cache)
        return self._cache

    def flush(self) -> None:
        """Write to the cache what this run computed."""
        if self._cache is not None:
            self._cache.flush()

    def fix_space(self, items: Iterable[Item]) -> None:
        """Set the space of the run: that of the model that was named, else of the vectors among the items.

        So items before the first that carries a vector are embedded by the same model. Where items are not a sequence,
        the first item decides.
        """
        if self.options.model is not None:
            self._space = self.encoder.space
        elif isinstance(items, Sequence):
            carried = (item.embedding for item in items)
            found = (embedding.vector_space for embedding in carried if embedding is not None)
            self._space = self._space or next(found, None)

    def kept(self, item: Item) -> Embedding | None:
        """Return the vector that an item carries and keeps; None where one has to be computed.

        Raises
        ------
        SpaceMismatchError
            If it is of another space than the run's.
        """
        return self._kept(item.embedding, f"item '{item.key.id}' (subset '{item.key.subset}')")

    def kept_object(self, item: Item, box: ItemBox) -> ObjectEmbedding | None:
        """Return the vector that an object carries, which stays if it is of this picture and box; as :meth:`kept`."""
        who = f"item '{item.key.id}' (subset '{item.key.subset}')"
        try:
            embedding = box.embedding
        except InvalidVectorError as exc:
            raise InvalidVectorError(f"{who}, {exc}") from exc
        own = embedding if embedding is not None and embedding.source else None
        return self._kept(own, f"annotation {box.annotation} of {who}")

    def _kept(self, embedding: _Embedding | None, who: str) -> _Embedding | None:
        if embedding is None or (self.options.recompute and self._space not in (None, embedding.vector_space)):
            return None
        self._require_space(embedding.vector_space, f"{who} carries a vector of")
        return embedding

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
        """Embed texts, (T, D) float32 unit rows; the summary counts those that are cut."""
        return embed_texts(texts, self.encoder, cache=self.cache, on_cut=self.summary.count_cut)

    def picture_vector(self, image: ImageLike) -> FloatArray:
        """Embed a picture, (D,) float32 of unit length; raise :class:`ImageError` if it cannot be decoded."""
        [found] = self.embed_parts([PartsRequest(ImageRequest(image))])
        [result] = found.results
        if result.vector is None:
            raise result.error or ImageError("unreadable", "no vector was computed")
        return result.vector

    def embedding_of(self, vector: FloatArray) -> Embedding:
        """Add the space and the precision to a vector that this run computed."""
        provenance = self.encoder.provenance
        return Embedding(vector, provenance.space.fingerprint, provenance.space.model, provenance.precision)

    def object_embedding_of(self, result: EmbedResult, box: ItemBox) -> ObjectEmbedding:
        """Add the space, the precision, the box and the origin to an object's vector."""
        assert result.vector is not None
        whole = self.embedding_of(result.vector)
        return ObjectEmbedding(whole.vector, whole.space, whole.model, whole.precision, box.bbox, result.origin)

    def _require_space(self, space: VectorSpace, who: str) -> None:
        if self._space is None:
            self._space = space
        if self._space != space:
            raise SpaceMismatchError(
                f"{who} {space}, but this run is in {self._space}. "
                "Name one model with --model, and compute the others again with --recompute"
            )
