"""Vector spaces, and vectors of unit length that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datumaro_clip.errors import InvalidVectorError, SpaceMismatchError
from datumaro_clip.similarity.kernels import squared_lengths

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = npt.NDArray[np.float32]

# Wide enough for unit rows that float16 storage has rounded: their length is off by at most 2**-11.
UNIT_TOLERANCE = 1e-3
#: The attribute of an item, or an annotation, that holds its vector.
EMBEDDING_ATTRIBUTE = "clip_embedding"


class ItemKey(NamedTuple):
    """Identifies an item in a dataset: its id and its subset."""

    id: str
    subset: str

    def __str__(self) -> str:
        return f"{self.id}@{self.subset}"


@dataclass(frozen=True)
class VectorSpace:
    """Identifies a vector space: vectors may be compared only if their spaces are equal.

    Attributes
    ----------
    fingerprint : str
        ``sha256:`` and 64 hexadecimal digits over weights, tokenizer, preprocessing and projection; or ``name:`` and a
        name that the user chose, for vectors computed elsewhere.
    dimension : int
        Length D of each vector.
    model : str
        The model's name, for messages; two spaces that differ only in it are equal.
    """

    fingerprint: str
    dimension: int
    model: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.model or 'unnamed model'} ({self.fingerprint[:19]}, {self.dimension} dimensions)"


def require_same_space(wanted: VectorSpace, got: VectorSpace) -> None:
    """Raise :class:`SpaceMismatchError`, naming both, unless the two spaces are equal."""
    if wanted != got:
        raise SpaceMismatchError(
            f"vectors of {got} cannot be compared with vectors of {wanted}; "
            "compute both with one model, for example by embedding again with --recompute"
        )


@dataclass(frozen=True)
class Provenance:
    """The space that vectors belong to, and how they were computed.

    Attributes
    ----------
    space : VectorSpace
    precision : str
        ``f32``, ``f16``, ``bf16`` or ``int8``; ``unknown`` for vectors computed elsewhere.
    device : str
        OpenVINO's name of the device, as in ``CPU`` or ``GPU.0``.
    """

    space: VectorSpace
    precision: str
    device: str

    def __str__(self) -> str:
        return f"model {self.space.model}, device {self.device}, precision {self.precision}"


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vector of one picture, in the attribute ``clip_embedding`` of its item.

    It is read-only, compares to one boolean, hashes, copies and pickles, and converts with ``numpy.asarray``. JSON
    encoders that know dataclasses write it as a mapping of its fields.

    Attributes
    ----------
    vector : numpy.ndarray
        Shape (D,), float32, unit length, read-only.
    space : str
        Fingerprint of the vector space.
    model : str
        The model's name.
    precision : str
        The precision in which it was computed.
    """

    vector: FloatArray
    space: str
    model: str
    precision: str

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float32)
        if vector.ndim != 1:
            raise InvalidVectorError(f"an embedding is one vector (D,), got shape {vector.shape}")
        is_unit, lengths = unit_lengths(vector[None])
        if not is_unit.all():
            raise InvalidVectorError(
                f"an embedding is finite and of length 1, got length {lengths[0]:.6g}; see unit_rows"
            )
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Embedding):
            return NotImplemented
        return self.space == other.space and np.array_equal(self.vector, other.vector)

    def __hash__(self) -> int:
        return hash((self.space, self.vector.tobytes()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self.vector.astype(self.vector.dtype if dtype is None else dtype, copy=bool(copy))

    def __len__(self) -> int:
        return len(self.vector)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and unpickle through the constructor, so that the vector stays read-only."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    def __repr__(self) -> str:
        return f"Embedding({len(self)} dimensions, {self.model}, {self.precision}, {self.space[:19]})"

    @property
    def vector_space(self) -> VectorSpace:
        """The space of the vector."""
        return VectorSpace(self.space, len(self), self.model)

    @classmethod
    def from_attribute(cls, value: object) -> Self:
        """Read the value of the attribute: an embedding, or the mapping that other formats write for one.

        Raises
        ------
        InvalidVectorError
            If the value is neither.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidVectorError(f"clip_embedding holds {type(value).__name__}, wanted an Embedding")
        try:
            return cls(**value)
        except (TypeError, ValueError) as exc:
            raise InvalidVectorError(f"clip_embedding does not describe an embedding: {exc}") from exc


@dataclass(frozen=True, eq=False, repr=False)
class ObjectEmbedding(Embedding):
    """The vector of one object, in the attribute ``clip_embedding`` of its annotation.

    It belongs to this box of this picture. If the annotation has another box now, the vector is not of its object.

    Attributes
    ----------
    bbox : tuple of float
        The box that the vector was computed of: x1, y1, x2, y2 in pixels of the stored picture, rounded to float32.
    source : str
        SHA-256, as 64 hexadecimal digits, of what it was computed from (picture, box, the crop's options); empty if
        that is not known.
    """

    bbox: tuple[float, float, float, float]
    source: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        box = np.asarray(self.bbox, np.float32)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise InvalidVectorError(f"an object's box is four finite numbers x1, y1, x2, y2; got {self.bbox}")
        object.__setattr__(self, "bbox", tuple(box.tolist()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectEmbedding):
            return False
        return (self.bbox, self.source) == (other.bbox, other.source) and super().__eq__(other)

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.bbox))


def unit_lengths(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Check whether each row of a matrix (N, D) of floats is finite and of unit length, up to rounding to float16.

    Returns
    -------
    is_unit : numpy.ndarray
        Shape (N,), bool.
    lengths : numpy.ndarray
        Shape (N,), float64; NaN or infinite for rows that are not finite.
    """
    lengths = np.sqrt(squared_lengths(matrix))
    return np.abs(lengths - 1) <= UNIT_TOLERANCE, lengths


def is_unit_rows(matrix: npt.NDArray[Any]) -> bool:
    """Whether all rows of a matrix (N, D) are unit rows, as :func:`unit_lengths` checks."""
    return bool(unit_lengths(matrix)[0].all())


def unit_rows(matrix: npt.ArrayLike) -> FloatArray:
    """Scale each row of a matrix to unit length.

    Parameters
    ----------
    matrix : array_like
        Shape (N, D), any real dtype.

    Returns
    -------
    numpy.ndarray
        Shape (N, D), float32, C order.

    Raises
    ------
    InvalidVectorError
        If the shape is not (N, D), or a row is zero or not finite; the first such row is named.
    """
    rows = np.asarray(matrix, dtype=np.float32)
    if rows.ndim != 2:
        raise InvalidVectorError(f"wanted a matrix of shape (N, D), got shape {rows.shape}")
    # Scale by the largest entry first, so that rows near float32's limits neither overflow nor vanish.
    peaks = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    bad = np.flatnonzero(~np.isfinite(peaks[:, 0]) | (peaks[:, 0] == 0.0))
    if len(bad):
        raise InvalidVectorError(f"row {bad[0]} of {len(rows)} has no direction (NaN, infinite or all zero)")
    scaled = rows / peaks
    return np.ascontiguousarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), dtype=np.float32)
