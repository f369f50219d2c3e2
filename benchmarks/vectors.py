"""Unit rows to search in: isotropic ones, and ones with the geometry of CLIP's."""

from __future__ import annotations

import numpy as np

from benchmarks import SHARED
from datumaro_clip.similarity.scores import IndexArray
from datumaro_clip.vectors import FloatArray, unit_rows

DIMENSION = 512
_CHUNK = 20_000


def random_rows(rows: int, seed: int = 0) -> FloatArray:
    """Rows without any structure, the hardest to rule out by a bound."""
    random = np.random.default_rng(seed)
    matrix = np.empty((rows, DIMENSION), np.float32)
    for start in range(0, rows, _CHUNK):
        part = matrix[start : start + _CHUNK]
        random.standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return matrix


def clip_like_rows(rows: int, seed: int = 0) -> FloatArray:
    """Rows about a common direction, with a falling spectrum.

    Similarities have a mean of 0.67 and a standard deviation of 0.08, as those of 300 photos by ViT-B/32 have.
    """
    random = np.random.default_rng(seed)
    spectrum = np.exp(-np.arange(DIMENSION) / 180) / np.sqrt(np.arange(1, DIMENSION + 1))
    spectrum[0] = 0.0
    spectrum *= np.sqrt(0.31 / (spectrum**2).sum())
    matrix = np.empty((rows, DIMENSION), np.float32)
    for start in range(0, rows, _CHUNK):
        part = matrix[start : start + _CHUNK]
        random.standard_normal(out=part, dtype=np.float32)
        part *= spectrum.astype(np.float32)
        part[:, 0] += 0.8
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return matrix


def plant_copies(matrix: FloatArray, share: float = 0.05, seed: int = 1) -> tuple[IndexArray, IndexArray]:
    """Replace a share of the rows by altered copies of others, at about 0.9 to 1 from them.

    Returns the rows copied and the rows replaced.
    """
    random = np.random.default_rng(seed)
    copied, replaced = random.permutation(len(matrix))[: 2 * int(len(matrix) * share)].reshape(2, -1)
    for start in range(0, len(copied), _CHUNK):
        part = slice(start, start + _CHUNK)
        noise = random.standard_normal((len(copied[part]), matrix.shape[1]), dtype=np.float32)
        noise *= random.uniform(0, 0.48, (len(noise), 1)) / np.linalg.norm(noise, axis=1, keepdims=True)
        matrix[replaced[part]] = unit_rows(matrix[copied[part]] + noise)
    return copied, replaced


def clip_covariance_rows(rows: int, seed: int = 0) -> FloatArray:
    """Rows in clusters of fifty, with the mean and covariance of 399 pictures' real CLIP vectors."""
    files = ("neardup/clip_vectors.npy", "clip_vectors_fashion99/image_embeddings.npy")
    pictures = unit_rows(np.concatenate([np.load(SHARED / "data" / file) for file in files]))
    mean = pictures.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov((pictures - mean).T))
    spread = (axes * np.sqrt(np.maximum(values, 0) + 1e-5)).astype(np.float32).T
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, rows // 50), DIMENSION), dtype=np.float32) * np.float32(np.sqrt(0.6))
    matrix = np.empty((rows, DIMENSION), np.float32)
    for start in range(0, rows, _CHUNK):
        part = matrix[start : start + _CHUNK]
        noise = random.standard_normal(part.shape, dtype=np.float32) * np.float32(np.sqrt(0.4))
        part[:] = unit_rows((centres[random.integers(0, len(centres), len(part))] + noise) @ spread + mean)
    return matrix


def text_like_rows(rows: int, seed: int = 0) -> FloatArray:
    """The real CLIP vectors of 99 product titles, and, where more are wanted, means of two of them with some noise."""
    texts = unit_rows(np.load(SHARED / "data" / "clip_vectors_fashion99/text_embeddings.npy"))
    random = np.random.default_rng(seed)
    left, right = random.integers(0, len(texts), (2, max(0, rows - len(texts))))
    noise = 0.01 * random.standard_normal((len(left), DIMENSION))
    return np.concatenate([texts[:rows], unit_rows(texts[left] + texts[right] + noise)])
