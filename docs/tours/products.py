"""From a table of products to a search service, by the commands that docs/tours/products.md explains.

    python docs/tours/products.py -o WORK                          # a drawn shop
    python docs/tours/products.py -o WORK --table products.csv     # your own; pictures are named by its column image

The same command goes on where an earlier run was killed. It prints what each stage was given, handed on and cost.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from stages import Counts, Tour, dropped_items

#: What kinds of the drawn catalogue a shop would call a category.
_CATEGORIES = {
    "clothes": ("bag", "hat", "shoe", "sock", "t-shirt", "umbrella"),
    "furniture": ("chair", "clock", "lamp", "sofa", "vase", "wardrobe"),
    "kitchen": ("bottle", "bucket", "mug", "teapot"),
    "leisure": ("ball", "guitar", "kite", "torch"),
}
_QUERIES = ("une théière à pois", "un chapeau rouge", "une chaise pour enfants", "un sac noir", "une montre")


def main() -> None:
    """Do every stage that is not done, and print the table."""
    parser = argparse.ArgumentParser(description="From a table of products to a search service.")
    parser.add_argument("-o", "--work", type=Path, required=True, metavar="DIR", help="where to work, or to go on")
    parser.add_argument("--table", type=Path, help="CSV with columns title, category, image (default: draw a shop)")
    parser.add_argument("--items", type=int, default=120, help="of the drawn shop (default: %(default)s)")
    told = "products left by each sampling (default: 95 % of what there are)"
    parser.add_argument("--sizes", type=int, nargs=3, metavar=("RANDOM", "CATEGORIES", "DIVERSE"), help=told)
    parser.add_argument("--model", default="tiny", help="default: %(default)s")
    options = parser.parse_args()
    with Tour(options.work, DATUMARO_CLIP_MODEL=options.model) as tour:
        if options.table is None:
            tour.stage("draw a shop", _draw, options.items, makes=["catalogue", "shop"])
        table = (options.table or tour.directory / "shop" / "products.csv").resolve()
        _walk(tour, table, options.sizes)
        print(f"\n{tour.table()}")


def _walk(tour: Tour, table: Path, sizes: Sequence[int] | None) -> None:
    random, categories, diverse = sizes or _a_little_less(len(_rows(table)))
    by_texts = f"--strategy k_center --by captions --count {diverse}"
    tour.stage("read the table", _read, table, makes=["addresses"])
    tour.stage("sample at random", _sample, "addresses", "some", f"--strategy random --count {random}", makes=["some"])
    by_category = f"--strategy stratified --count {categories}"
    tour.stage("sample by category", _sample, "some", "fewer", by_category, makes=["fewer"])
    tour.stage("sample for diverse texts", _sample, "fewer", "diverse", by_texts, makes=["diverse"])
    tour.stage("collect the pictures", _fetch, table.parent)
    both = "--require-picture --require-caption"
    tour.stage("clean", _transform, "clip_clean", "pictures", "clean", both, makes=["clean"])
    tour.stage("embed", _embed, makes=["vectors"])
    tour.stage("align", _transform, "clip_align", "clean", "aligned", "", makes=["aligned"])
    levels = "--levels exact near semantic --keep-ratio 0.9"
    tour.stage("drop duplicates", _transform, "clip_dedup", "aligned", "unique", levels, makes=["unique"])
    tour.stage("evaluate", _evaluate, makes=["evaluation"])
    tour.stage("export, 90 to 10", _export, makes=["final", "marked"])
    tour.stage("serve and search", _serve, makes=["products"])


def _draw(tour: Tour, items: int) -> Counts:
    """A shop of drawn things, with the defects of the catalogue: a table, and its pictures."""
    tour.run(f"datum-clip catalogue -o catalogue --items {items} --seed 11")
    catalogue, shop = tour.directory / "catalogue", tour.directory / "shop"
    shop.mkdir()
    truth = json.loads((catalogue / "truth.json").read_text())
    rows = [row for path in sorted((catalogue / "annotations").glob("captions_*.json")) for row in _products(path)]
    with (shop / "products.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("product_id", "title", "description", "category", "image"))
        for name, picture, texts in rows:
            kind = truth["attributes"].get(name, {}).get("kind", "mug")
            [category] = (group for group, kinds in _CATEGORIES.items() if kind in kinds)
            writer.writerow((name, texts[0], texts[1], category, f"images/{picture}"))
    (shop / "images").symlink_to(catalogue / "images")
    return Counts(items, len(rows))


def _products(captions: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The name, picture and texts of each item of a subset."""
    told = json.loads(captions.read_text())
    subset = captions.stem.partition("_")[2]
    for image in told["images"]:
        texts = [each["caption"] for each in told["annotations"] if each["image_id"] == image["id"]]
        name = image["file_name"]
        yield Path(name).stem, f"{subset}/{Path(name).name}", texts


def _read(tour: Tour, table: Path) -> Counts:
    """Check the table, and write one that gives the pictures' addresses in a web shop."""
    tour.run(f"datum-clip table check {table}")
    rows = _rows(table)
    port = tour.directory / "port"
    if not port.exists():
        with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
            port.write_text(str(server.server_port))
    (tour.directory / "addresses").mkdir()
    with (tour.directory / "addresses" / "products.csv").open("w", newline="") as file:
        columns = [*(name for name in rows[0] if name != "image"), "url"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            url = f"http://127.0.0.1:{port.read_text()}/{row.pop('image')}"
            writer.writerow({**row, "url": url})
    return Counts(len(rows), len(rows))


def _sample(tour: Tour, source: str, out: str, options: str) -> Counts:
    tour.run(f"datum transform -t clip_sample -o {out} {source}:clip_table -- {options}")
    before, after = len(_rows(tour.directory / source)), len(_rows(tour.directory / out))
    return Counts(before, after, {"not_picked": before - after})


def _fetch(tour: Tour, root: Path) -> Counts:
    """Serve the shop's pictures, and collect those of the sampled rows; what an earlier run collected is kept."""
    handler = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    address = ("127.0.0.1", int((tour.directory / "port").read_text()))
    with ThreadingHTTPServer(address, partial(handler, directory=str(root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        [table] = (tour.directory / "diverse").glob("*.csv")
        tour.run(f"datum-clip fetch {table} -o pictures --allow-address 127.0.0.0/8 --per-host 8")
        server.shutdown()
    rows = _rows(tour.directory / "pictures")
    failed = Counter(row["error"] for row in rows if row["status"] != "ok")
    told = "".join(f", {error} {count}" for error, count in sorted(failed.items()))
    return Counts(len(rows), len(rows), note=f"rows without a picture stay: {failed.total()}{told}")


def _transform(tour: Tour, name: str, source: str, out: str, options: str) -> Counts:
    tour.run(f"datum transform -t {name} -o {out} {source}:clip_table -- {options} --report report-{out}")
    dropped = dropped_items(tour.directory / f"report-{out}")
    return Counts(len(_rows(tour.directory / source)), len(_rows(tour.directory / out)), dropped)


def _embed(tour: Tour) -> Counts:
    """Vectors go to the cache batch by batch, so that a killed run loses the last one at most."""
    tour.run("datum-clip embed clean:clip_table -o vectors -f clip_mmap --texts captions --show 0")
    told = json.loads(tour.run("datum-clip inspect vectors --json"))
    return Counts(len(_rows(tour.directory / "clean")), told["items"])


def _evaluate(tour: Tour) -> Counts:
    """Train a classifier of the categories on what was collected, on what was curated, and on random parts as large."""
    sets = "pictures:clip_table clean:clip_table unique:clip_table"
    how = "--features pictures --copies exact --seeds 3 --sizes 1 --report evaluation --json"
    told = json.loads(tour.run(f"datum-clip evaluate {sets} {how}"))
    raw = told["raw"]["curve"][-1]
    notes = [f"raw {raw['samples']:,}: {_accuracy(raw)}"]
    for one in told["curated"]:
        whole, random = one["curve"][-1], one["random"]["curve"][-1]
        notes.append(f"{one['name']} {whole['samples']:,}: {_accuracy(whole)}, random {_accuracy(random)}")
        print(f"    {one['sentence']}")
    test = told["test"]["items"]
    return Counts(raw["samples"] + test, raw["samples"], {"test set": test}, "; ".join(notes))


def _accuracy(point: Mapping[str, Any]) -> str:
    return f"{point['accuracy']['value']:.3f}"


def _export(tour: Tour) -> Counts:
    """Write the table in two parts, and look for copies that lie in both."""
    tour.run("datum export -i unique:clip_table -f clip_table -o final -- --split 0.9 --seed 0 --save-media")
    look = "--levels exact near --no-vectors --action mark --report report-leaks"
    tour.run(f"datum transform -t clip_dedup -o marked final:clip_table -- {look}")
    marks = (json.loads(line) for line in (tour.directory / "report-leaks" / "decisions.jsonl").open())
    leaks = sum(one["representative"]["subset"] != one["subset"] for one in marks if one.get("action") == "mark")
    parts = {path.stem: len(_rows(path)) for path in sorted((tour.directory / "final").glob("*.csv"))}
    note = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    return Counts(len(_rows(tour.directory / "unique")), sum(parts.values()), note=f"{note}; {leaks} copies in both")


def _serve(tour: Tour) -> Counts:
    tour.run("datum-clip embed final:clip_table -o products -f clip_mmap --texts captions --save-media --show 0")
    served = tour.serve("datum-clip serve products --port 0")
    for query in _QUERIES:
        hits = served.ask("/search", {"query": query, "top_k": 3})
        print(f"    {query}: " + "; ".join(f"{hit['metadata']['title']} ({hit['score']:.2f})" for hit in hits))
    [stats] = served.client.get("/stats").json()
    return Counts(len(_rows(tour.directory / "final")), stats["items"])


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, or of all tables in a directory."""
    rows = []
    for table in [path] if path.is_file() else sorted(path.glob("*.csv")):
        with table.open(newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows


def _a_little_less(count: int) -> list[int]:
    return [round(count * 0.95**n) for n in (1, 2, 3)]


if __name__ == "__main__":
    main()
