"""How clip_align finds items whose captions are all another's, by their number: ``python -m benchmarks.alignment``.

Before, the threshold was fitted on single texts and applied to an item's best: that is told beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.align import combine, combine_margins, margins, mismatch_threshold
from datumaro_clip.vectors import unit_rows

ITEMS, DIMENSION, CAPTIONS, WRONG, SEEDS = 800, 64, 5, 0.1, 3
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
    """Print the share of wrong items found and of good ones lost, before and now."""
    print("combined, captions, noise: found before, lost before, found now, lost now")
    for how in ("max", "mean", "min"):
        for unequal in (False, True):
            for noise in (1.0, 2.0, 3.0):
                shares = []
                for seed in range(SEEDS):
                    images, texts, owner, wrong = drawn(noise, seed, unequal)
                    single = margins(images, texts, owner)
                    limit = mismatch_threshold(single.own, single.strangers)
                    before = combine(single.own, owner, ITEMS, how) < limit
                    found = combine_margins(single, owner, how)
                    now = found.own < found.thresholds()
                    shares.append([gone[part].mean() for gone in (before, now) for part in (wrong, ~wrong)])
                told = ", ".join(f"{share:.3f}" for share in np.mean(shares, axis=0))
                print(f"{how}, {'1 to 5' if unequal else '5'}, {noise:g}: {told}")


if __name__ == "__main__":
    main()
