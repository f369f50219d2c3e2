"""How well curation decides by default, on drawn catalogues with known errors.

``python -m benchmarks.catalogues`` draws the six catalogues of ``docs/curation.md``, on which no default was chosen,
and runs ``clip_align`` and ``clip_outliers`` on each.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from datumaro.components.dataset import Dataset

from datumaro_clip.demo.catalogue import write_catalogue
from datumaro_clip.host.transform import ClipAlign, ClipOutliers

# Items and seed of each.
CATALOGUES = ((300, 80), (300, 81), (300, 82), (1000, 70), (1000, 71), (3000, 51))
Subject = tuple[str, int | None]


def decided(folder: Path) -> Iterator[tuple[str, set[Subject], set[Subject], set[Subject]]]:
    """Yield the kind of each error, the planted items, those found, and those that are right to find.

    Captions of outliers, and empty or garbled captions, do not fit their pictures either.
    """
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    planted: dict[str, set[Subject]] = defaultdict(set)
    for defect in truth["defects"]:
        planted[defect["kind"]].add((defect["id"], defect.get("caption_id")))
    dataset = Dataset.import_from(str(folder), "coco")
    outliers = {name for name, _ in planted["outlier"]}
    tools = {
        "align": ClipAlign(dataset, model="tiny", drop_captions=True),
        "outliers": ClipOutliers(dataset, model="tiny"),
    }
    dropped: dict[str, set[Subject]] = defaultdict(set)
    for name, tool in tools.items():
        for one in tool.decisions.decisions:
            if one.action == "drop":
                number = None
                if one.annotation is not None:
                    number = dataset.get(one.key.id, one.key.subset).annotations[one.annotation].id
                dropped[f"{name} {one.reason}"].add((one.key.id, number))
    for kind, reason in (
        ("foreign_caption", "align mismatch"),
        ("outlier", "outliers outlier"),
        ("wrong_label", "outliers wrong_label"),
    ):
        found = dropped[reason]
        right = planted[kind]
        if kind == "foreign_caption":
            right = (
                right
                | planted["empty_caption"]
                | planted["garbled_caption"]
                | {one for one in found if one[0] in outliers}
            )
        yield kind, planted[kind], found, right


def main() -> None:
    """Print what was found and what of it is right, catalogue by catalogue and over all."""
    sums: Counter[tuple[str, str]] = Counter()
    for items, seed in CATALOGUES:
        with TemporaryDirectory() as made:
            write_catalogue(Path(made) / "shop", items=items, seed=seed)
            for kind, planted, found, right in decided(Path(made) / "shop"):
                counts = {
                    "found": len(found & planted),
                    "planted": len(planted),
                    "right": len(found & right),
                    "all": len(found),
                }
                sums.update({(kind, name): count for name, count in counts.items()})
                print(items, seed, kind, counts, sorted(map(str, found - right))[:4], flush=True)
    print(dict(sums))


if __name__ == "__main__":
    main()
