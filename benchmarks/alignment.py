"""How clip_align finds items that have all captions of another item: ``python -m benchmarks.alignment``.

For comparison: what the threshold for single texts finds, applied to an item's best text, and what the best possible
threshold finds, chosen with knowledge of the wrong items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.margins import combine, combine_margins, margins, mismatch_threshold
from datumaro_clip.vectors import unit_rows

# Share of the good items that the best threshold may lose.
MOST_LOST = 0.006
ITEMS, DIMENSION, CAPTIONS, WRONG, SEEDS = 800, 64, 5, 0.1, 20
Array = npt.NDArray[np.float32]


def drawn(noise: float, seed: int, unequal: bool) -> tuple[Array, Array, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Pictures, texts, the picture of each text, and which pictures have another's texts."""
    rng = np.random.default_rng(seed)
    common, sides = rng.standard_normal((ITEMS, DIMENSION)), 1.5 * rng.standard_normal((2, DIMENSION))
    images = unit_rows(common + 0.5 * rng.standard_normal((ITEMS, DIMENSION)) + sides[0])
    number = rng.integers(1, CAPTIONS + 1, ITEMS) if unequal else np.full(ITEMS, CAPTIONS)
    owner = np.repeat(np.arange(ITEMS), number)
    moved = rng.permutation(ITEMS)[: int(WRONG * ITEMS)]
    source = np.arange(ITEMS)
    source[moved] = np.roll(moved, 1)
    texts = unit_rows(common[source[owner]] + noise * rng.standard_normal((len(owner), DIMENSION)) + sides[1])
    return images, texts, owner, np.isin(np.arange(ITEMS), moved)


def main() -> None:
    """Print the shares of wrong items found and of good ones lost."""
    print(f"combined, captions, noise: found, lost by the threshold of single texts; now; found at {MOST_LOST} lost")
    for how in ("max", "mean", "min"):
        for unequal in (False, True):
            for noise in (1.0, 2.0, 3.0):
                shares = np.mean([_shares(*drawn(noise, seed, unequal), how) for seed in range(SEEDS)], axis=0)
                told = ", ".join(f"{share:.3f}" for share in shares)
                print(f"{how}, {'1 to 5' if unequal else '5'}, {noise:g}: {told}")


def _shares(
    images: Array, texts: Array, owner: npt.NDArray[np.int64], wrong: npt.NDArray[np.bool_], how: str
) -> list[float]:
    single = margins(images, texts, owner)
    of_single = mismatch_threshold(single.own, single.strangers.ravel())
    found = combine_margins(single, owner, how)
    values = found.beyond_expected
    best = np.sort(values[~wrong])[int(MOST_LOST * (~wrong).sum())]
    thrown = combine(single.own, owner, ITEMS, how) < of_single, values < found.threshold()
    return [float(gone[part].mean()) for gone in thrown for part in (wrong, ~wrong)] + [
        float((values < best)[wrong].mean())
    ]


if __name__ == "__main__":
    main()
