"""How much curation helps a classifier, on data with known errors: ``python -m benchmarks.evaluation [PART …]``.

- ``products``: real product pictures, 20% of the training labels wrong and 5% of the rows with six more copies each;
  the test set is clean. Vectors are pixels (15×20, 128 principal components), or ``--model NAME``'s.
- ``clean``: the same products as they are, without copies, and without what is doubted there.
- ``semantic``: what the semantic level of ``clip_dedup`` keeps of the same products, by share, by similarity, and by
  what must be alike; texts are the words of the titles.
- ``catalogue``: 1,200 drawn pictures, 20% of the labels of 70% to train on wrong; the vectors of ``tiny``.
- ``speed``: 12,000 × 512 vectors, 22 classes, five seeds, four sizes; processor seconds.
"""

from __future__ import annotations

import argparse
import csv
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.duplicates import PHOTOS
from benchmarks.figures import Figure, cpu_seconds
from datumaro_clip import find_duplicates, outliers
from datumaro_clip.curate.item import Item
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.semantic import choose_semantic
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.evaluate.evaluation import Curated, Evaluation
from datumaro_clip.evaluate.run import OPTIONS, ComparedSet, evaluate
from datumaro_clip.evaluate.trials import Examples, run_trials
from datumaro_clip.model.loading import load_model
from datumaro_clip.options import read_options
from datumaro_clip.vectors import Embedding, FloatArray, ItemKey, unit_rows

PRODUCTS = PHOTOS.parent / "products"
WRONG, COPIED, COPIES = 0.2, 0.05, 6
FEWEST = 60
PARTS = ("products", "clean", "semantic", "catalogue", "speed")
# The semantic level's settings: shares to keep, thresholds of similarity, and the share to keep with texts compared.
KEPT, SIMILAR, KEPT_OF_TEXTS = (0.95, 0.9, 0.8, 0.5), (0.98, 0.95), 0.8


def run(work: Path) -> Iterator[Figure]:
    """All figures, for ``python -m benchmarks``."""
    yield from _of("products", *polluted_products(None))
    yield from _of("clean", *clean_products(None))
    yield from _of("semantic", *semantic_choices(None))
    yield from _of("catalogue", *drawn_catalogue(work))
    yield Figure("evaluate", "12,000 × 512, 22 classes, processor time", speed(), "s")


def polluted_products(model: str | None) -> tuple[Evaluation, str]:
    """Copies out, then doubted labels too, of products with planted faults."""
    items = _subsets(_products(model))
    rng = np.random.default_rng(1)
    names = sorted({str(item.label) for item in items})
    raw: list[Item] = []
    for item in items:
        if item.key.subset == "train" and rng.random() < WRONG:
            item = _labelled(item, str(rng.choice([name for name in names if name != item.label])))
        copies = COPIES if item.key.subset == "train" and rng.random() < COPIED else 0
        raw += [item, *(replace(item, key=ItemKey(f"{item.key.id} copy {n}", "train")) for n in range(copies))]
    unique = _without_copies(raw)
    sure = _without_doubted(unique)
    sets = {"copies out": unique, "copies and doubted labels out": sure}
    return _evaluated(raw, sets), _told_of(items, unique, sure)


def clean_products(model: str | None) -> tuple[Evaluation, str]:
    """Copies out, then doubted labels too, of products as they are."""
    raw = _subsets(_products(model))
    unique = _without_copies(raw)
    sets = {"copies out": unique, "copies and doubted labels out": _without_doubted(unique)}
    return _evaluated(raw, sets, sizes=[1.0], seeds=3), ""


def semantic_choices(model: str | None) -> tuple[Evaluation, str]:
    """Evaluate what the semantic level keeps of products as they are, without their copies."""
    raw = _subsets(_products(model))
    items = [item for item in _without_copies(raw) if item.key.subset == "train"]
    vectors = np.stack([item.embedding.vector for item in items if item.embedding])
    words = _word_vectors([item.captions[0].text for item in items])
    order = range(len(items))
    choices = {f"keep {share:.0%}": choose_semantic(vectors, order, share) for share in KEPT}
    choices |= {f"below {limit}": choose_semantic(vectors, order, 1.0, threshold=limit) for limit in SIMILAR}
    share = KEPT_OF_TEXTS
    choices[f"keep {share:.0%}, redundant texts"] = choose_semantic(words, order, share)
    choices[f"keep {share:.0%}, redundant both"] = choose_semantic(vectors, order, share, texts=words)
    sets = {name: [items[row] for row in np.flatnonzero(choice.kept)] for name, choice in choices.items()}
    return _evaluated(raw, sets, sizes=[1.0], seeds=3), ""


def drawn_catalogue(work: Path) -> tuple[Evaluation, str]:
    """Without doubted labels, of a drawn catalogue with planted ones."""
    from datumaro_clip.demo.catalogue import write_catalogue
    from datumaro_clip.host.evaluation import open_compared

    folder = work / "evaluate-catalogue"
    write_catalogue(folder, items=1200, seed=90)
    [drawn] = open_compared(f"{folder}:coco", [])
    encoder = load_model("tiny")
    model = RunModel(EmbeddingOptions(model=encoder))
    from datumaro_clip.curate.embedder import embed_columns

    columns, _ = embed_columns(drawn.items, (), "pictures", model)
    rng = np.random.default_rng(2)
    able = [drawn.items[row] for row in columns.rows]
    names = sorted({str(item.label) for item in able})
    raw = []
    for item, vector in zip(able, columns.vectors, strict=True):
        item = Item.of(
            item.key.id, item.media, subset="train" if item.key.subset == "train" else "test", labels=[str(item.label)],
            embedding=Embedding(vector, encoder.space.fingerprint, "tiny", "f32"),
        )  # fmt: skip
        if item.key.subset == "train" and rng.random() < WRONG:
            item = _labelled(item, str(rng.choice([name for name in names if name != item.label])))
        raw.append(item)
    sure = _without_doubted(raw, no_texts=False, model=encoder)
    return _evaluated(raw, {"doubted labels out": sure}), _told_of(able, raw, sure)


def speed() -> float:
    """Processor seconds of all linear and non-linear probes, one curated set beside the raw one."""
    rng = np.random.default_rng(0)
    count, dimension, classes = 12_000, 512, 22
    spectrum = np.arange(1, dimension + 1) ** -0.6
    labels = rng.integers(0, classes, count)
    centres = 0.3 * rng.standard_normal((classes, dimension)) * spectrum
    vectors = unit_rows(centres[labels] + rng.standard_normal((count, dimension)) * spectrum)
    is_test, is_wrong = np.arange(count) < count // 5, rng.random(count) < WRONG
    given = np.where(is_wrong & ~is_test, rng.integers(0, classes, count), labels)
    examples = Examples(vectors, given, np.arange(count))
    raw, sure, tested = (examples.at(rows) for rows in (~is_test, ~is_test & ~is_wrong, is_test))
    return cpu_seconds(lambda: run_trials(raw, [sure], tested, classes))


def _products(model: str | None) -> list[Item]:
    """Products of the classes that have enough of them, with their vectors."""
    with (PRODUCTS / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [row["description"].split(" - ")[1] for row in rows]
    common = {kind for kind, count in Counter(kinds).items() if count >= FEWEST}
    chosen = [(row, kind) for row, kind in zip(rows, kinds, strict=True) if kind in common]
    items = [
        Item.of(row["product_id"], PRODUCTS / row["image"], labels=[kind], captions=[row["title"]])
        for row, kind in chosen
    ]
    if model is None:
        vectors, space = _principal(np.stack([_pixels(item.media) for item in items])), ("name:pixels", "pixels")
    else:
        from datumaro_clip import embed

        encoder = load_model(model)
        vectors, _ = embed([item.media for item in items], encoder)
        space = (encoder.space.fingerprint, encoder.space.model)
    return [
        replace(item, attributes={"clip_embedding": Embedding(vector, *space, "unknown")})
        for item, vector in zip(items, vectors, strict=True)
    ]


def _pixels(path: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((15, 20), Image.Resampling.BOX), np.float32).ravel() / 255


def _word_vectors(texts: Sequence[str]) -> FloatArray:
    """Texts as the words that at least five of them have, rare ones weighing more."""
    said = [set(text.lower().split()) for text in texts]
    counts = Counter(word for words in said for word in words)
    weights = {word: np.log(len(texts) / count) for word, count in counts.items() if count >= 5}
    rows = np.array([[word in words and weight for word, weight in weights.items()] for words in said], np.float32)
    return _principal(rows)


def _principal(rows: FloatArray, count: int = 128) -> FloatArray:
    """The directions of rows (N, D) along their principal axes, (N, count)."""
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return unit_rows(centred @ axes[:, -count:])


def _subsets(items: Sequence[Item]) -> list[Item]:
    """A fifth as the subset ``test``, the copies of one file on one side."""
    from datumaro_clip.curate.split import copy_groups, split_groups

    tested = split_groups(copy_groups(items, near=False), 0.2)
    return [
        replace(item, key=ItemKey(item.key.id, "test" if chosen else "train"))
        for item, chosen in zip(items, tested, strict=True)
    ]


def _told_of(right: Sequence[Item], before: Sequence[Item], after: Sequence[Item]) -> str:
    """Return a line: how many wrong labels were removed, and how many of the removed items were wrong."""
    labels = {(item.key.id, item.label) for item in right}
    wrong = [item for item in before if (item.key.id, item.label) not in labels]
    found, gone = {item.key for item in wrong} - {item.key for item in after}, len(before) - len(after)
    return f"{len(found)} of {len(wrong)} wrong labels out, {len(found) / gone:.2f} of the {gone} that went were wrong"


def _labelled(item: Item, name: str) -> Item:
    return replace(item, labels=Item.of("", labels=[name]).labels)


def _without_copies(items: Sequence[Item]) -> list[Item]:
    """Return the items that ``clip_dedup --levels exact`` keeps."""
    groups = find_duplicates(items, levels=("exact",))
    gone = {one.key for group in groups for one in group.members}
    return [item for item in items if item.key not in gone]


def _without_doubted(items: Sequence[Item], no_texts: bool = True, model: Any = None) -> list[Item]:
    """Return the items without the training items that ``clip_outliers --what labels`` drops."""
    training = [item for item in items if item.key.subset == "train"]
    gone = set(outliers(training, what="labels", no_texts=no_texts, model=model).keys_with("drop"))
    return [item for item in items if item.key not in gone]


def _evaluated(raw: Sequence[Item], curated: dict[str, Sequence[Item]], **options: Any) -> Evaluation:
    sets = [ComparedSet(name, name, items, {}) for name, items in curated.items()]
    values = read_options(OPTIONS, {"test": "test", "copies": "exact", "features": "pictures", **options}, "evaluate")
    found, _ = evaluate(ComparedSet("raw", "raw", raw), sets, values, RunModel(EmbeddingOptions()))
    return found


def _of(part: str, found: Evaluation, told: str) -> Iterator[Figure]:
    for one in found.curated:
        yield Figure("evaluate", f"{part}: {one.training.name}, more than raw", _gain(one)[0], "accuracy")
        yield Figure("evaluate", f"{part}: {one.training.name}, more than random", _gain(one)[1], "accuracy")


def _gain(one: Curated) -> tuple[float, float]:
    return one.linear.against_raw.accuracy.value, one.linear.against_random.accuracy.value


def main() -> None:
    """Print the parts that the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks.evaluation", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--model", help="of the products' vectors; pixels where omitted")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    for part in args.part or PARTS:
        start = time.process_time()
        if part == "speed":
            print(f"speed: {speed():.0f} s of processor time", flush=True)
            continue
        with tempfile.TemporaryDirectory() as work:
            made = {
                "products": lambda: polluted_products(args.model),
                "clean": lambda: clean_products(args.model),
                "semantic": lambda: semantic_choices(args.model),
                "catalogue": lambda: drawn_catalogue(Path(work)),
            }
            found, told = made[part]()
        print(f"{part}: {found.test.items} test items, {len(found.classes)} classes; {told}")
        for each in (found.raw, *(one.training for one in found.curated), *(one.random for one in found.curated)):
            points = ", ".join(f"{point.samples}: {point.accuracy.value:.3f}" for point in each.curve)
            print(f"  {each.name}: {points}; balanced {each.curve[-1].balanced.value:.3f}")
        for one in found.curated:
            print(f"  {found.sentence(one)} {' '.join(found.findings(one))}")
        print(f"  {time.process_time() - start:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
