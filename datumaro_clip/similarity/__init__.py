"""Cosine similarities over matrices of unit rows: the k most similar, and all pairs above a threshold.

Both work in two tiers. A product in blocks of float32 or float16, whose rounding differs from block to block, only
proposes; :func:`~datumaro_clip.similarity.scores.exact_scores` decides. So the answers do not depend on the size of the
blocks, on the number of threads, or on the library that multiplies.
"""

from __future__ import annotations

from datumaro_clip.similarity.cells import approximate_pairs_above, approximate_top_k
from datumaro_clip.similarity.pairs import Pairs, pairs_above
from datumaro_clip.similarity.scores import exact_scores
from datumaro_clip.similarity.topk import top_k

__all__ = ["Pairs", "approximate_pairs_above", "approximate_top_k", "exact_scores", "pairs_above", "top_k"]
