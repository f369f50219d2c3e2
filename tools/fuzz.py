"""Open thousands of damaged and hostile copies of files that others may send, each kind in its own process.

    python tools/fuzz.py [KIND ...] [--count 1000] [--seed 0]

tries ``--count`` mutations, shared out among the kinds, and prints how many were refused. Fails if a copy gives
contents that differ from the original's, or from one reading to the next, raises an error that is not of
datumaro_clip.errors, reads or writes files outside, takes much memory, or takes longer than a minute. A kind is a
:class:`Subject` in :data:`SUBJECTS`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datumaro.components import annotation as dm
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from mutations import MUTATIONS, become_huge_array, files_in, rewritten
from pycocotools import mask as coco_mask

from datumaro_clip.curate.decisions import (
    Decision,
    DecisionLog,
    except_items,
    read_decisions,
    read_exceptions,
    write_decisions,
)
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import DatumaroClipError, StoreCorruptError
from datumaro_clip.host.apply import DecidedItems
from datumaro_clip.host.codec.items import ItemDecoder, ItemEncoder
from datumaro_clip.host.codec.verify import verify_items
from datumaro_clip.host.items import key_of, with_labels
from datumaro_clip.host.precomputed import PrecomputedVectors
from datumaro_clip.model.directory import verify_files
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import BUNDLED
from datumaro_clip.store import VECTOR_GROUPS, ArchiveMember, Header, Record, create_store, open_store
from datumaro_clip.testing.records import HEADER, make_records
from datumaro_clip.vectors import ItemKey

# Memory allowed beyond that of the loaded libraries, which is some 400 MB.
MOST_MEMORY = 400 << 20
#: Seconds that one mutation may take, on a machine that is also busy with other work.
LONGEST = 60
PIXELS = np.zeros((1, 96, 96, 3), np.uint8)
KEYS = [b"%032d" % number for number in range(60)]

SIGNED = ("manifest.json", "preprocessor_config.json", "tokenizer.json", "golden.npy")


class Subject(NamedTuple):
    """A kind of file that is damaged.

    Attributes
    ----------
    write : callable
        Makes a sound one in a folder.
    read : callable
        Returns its whole content as one string; for a cache, checks it and returns nothing.
    sign : callable or None
        Replaces a value in its manifest, and corrects all digests.
    always_signed : bool
        Whether every mutation is of that kind; otherwise every third is.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], str]
    sign: Callable[[Path, random.Random], None] | None
    always_signed: bool = False


def write_store(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with create_store(path, kind, HEADER) as writer:
            for record in make_records(40):
                writer.add(record)
            writer.media.add_bytes(b"picture", "a.jpg")

    return write


def read_store(path: Path) -> str:
    with open_store(path) as reader:
        reader.check()
        matrix = np.array(reader.matrix()).tobytes()
        vectors = [reader.stored_rows(group)[:].tobytes() for group in VECTOR_GROUPS]
        records = [(vectors, r.key, r.payload, r.embedding, [c.vector for c in r.captions]) for r in reader.records()]
        return repr((len(reader), dict(reader.subsets), list(reader.keys()), matrix, records))


def sign_store(path: Path, chance: random.Random) -> None:
    file = next(path.glob("clip_*.json"))
    body = rewritten("{" + file.read_text().partition("\n")[2], chance, 100_000)[1:].encode()
    digest = hashlib.sha256(body).hexdigest()
    file.write_bytes(f'{{"format":"{file.stem}","format_version":2,"sha256":"{digest}",\n'.encode() + body)


def write_dataset(path: Path) -> None:
    """A store of annotations of many classes, attributes, pictures in the store and one in an archive."""
    mask = np.eye(6, dtype=bool)
    annotations = [
        *(dm.Bbox(1, 2, 3, 4, label=0, attributes={"a": (1, None), "b": {1, 2}}), dm.Caption("ü"), dm.Label(1)),
        *(dm.Mask(mask, label=0), dm.RleMask(coco_mask.encode(np.asfortranarray(mask, np.uint8)), label=1)),
        *(dm.Polygon([0, 0, 3, 0, 3, 3]), dm.Points([1, 2, 3, 4], [0, 2]), dm.Ellipse(1, 2, 3, 4)),
        *(dm.PolyLine([1, 2, 3, 4]), dm.RotatedBbox(5, 5, 2, 2, 30), dm.Cuboid3d([1.0, 2, 3], [0.1, 0, 0], [1, 1, 1])),
    ]
    attributes = {"array": np.arange(6).reshape(2, 3), "set": {"a"}, "nested": (1, [2, {"three": 3}]), "big": 2**70}
    path.parent.mkdir(parents=True, exist_ok=True)
    member = ArchiveMember(str(path.parent), "none.tar", 512, 10, "a.png")
    media = [Image.from_numpy(PIXELS[0]), Image.from_bytes(member, ext=".png"), None]
    items = [
        DatasetItem(str(n), media=medium, annotations=annotations, attributes=attributes)
        for n, medium in enumerate(media)
    ]
    with create_store(path, "clip_mmap", Header()) as writer:
        for save_media, item in zip((True, False, False), items, strict=True):
            encoder = ItemEncoder(writer.media, save_media=save_media)
            writer.add(Record(ItemKey(item.id, item.subset), encoder.encode(item)))


def read_dataset(path: Path) -> str:
    """Return all items, decoded; references to files outside are refused, or lead nowhere."""
    with open_store(path) as reader:
        reader.check()
        with suppress(StoreCorruptError):
            verify_items(reader)
        items = [ItemDecoder(path).decode(record.key, record.payload) for record in reader.records()]
        masks = [note.image.tobytes() for item in items for note in item.annotations if isinstance(note, dm.Mask)]
        return repr(([(item.id, item.annotations, item.attributes) for item in items], masks))


def sign_payload(path: Path, chance: random.Random) -> None:
    """Replace a value of one item's payload; the store is written anew, so that every digest is right."""
    with open_store(path) as reader:
        records = list(reader.records())
    number = chance.randrange(len(records))
    payload = json.loads(rewritten(json.dumps(dict(records[number].payload)), chance, 60))
    if not isinstance(payload, dict):
        payload = {"attributes": payload}
    records[number] = replace(records[number], payload=payload)
    with create_store(path, "clip_mmap", Header(), overwrite=True) as writer:
        for record in records:
            writer.add(record)


def write_decided(path: Path) -> None:
    path.mkdir()
    where = ((1, 2, 3, 4), (1, 2, 3, 4))
    decisions = [
        Decision(ItemKey("0", "train"), "drop", "near_duplicate", 0.5, 0.9, 0, ItemKey("1", "train"), places=where),
        Decision(ItemKey("1", "train"), "keep", rank=1, attributes={"clip_score": 0.5}, text="a cup"),
        Decision(ItemKey("2", "train"), "move", subset="val", detail="too similar"),
        Decision(ItemKey("2", "train"), "label", label="mug", score=0.25),
        Decision(ItemKey("3", "train"), "drop", "caption", annotation=0, occurrence=1),
        Decision(ItemKey("4", "train"), "tag", tag="ready"),
    ]
    options = {"merge_annotations": True, "labels": ["cup", "mug"]}
    write_decisions(path / "decisions.jsonl", DecisionLog("clip_dedup", options, None, tuple(decisions), ("a note",)))
    (path / "keep.txt").write_text("0@train\n# a line\n")


def read_decided(path: Path) -> str:
    """Return what decisions make of a dataset, and what they make of it without the items that a person keeps."""
    log = read_decisions(path / "decisions.jsonl")
    kept = except_items(log.decisions, read_exceptions(path / "keep.txt"))
    notes = [dm.Caption("a cup"), dm.Bbox(1, 2, 3, 4, label=0, group=1), dm.Label(1)]
    items = [DatasetItem(str(n), subset="train", annotations=notes) for n in range(5)]
    told = []
    for one in (log, DecisionLog(log.transform, log.options, log.space, tuple(kept), log.notes)):
        decided = DecidedItems(one, with_labels({}, ["cup", "mug"]))
        decided.require_keys(key_of(item) for item in items)
        told.append([(item.id, item.subset, item.annotations, item.attributes) for item in decided.apply(items)])
    return repr((told, log.options, log.notes, [str(one) for one in log.decisions]))


def change_decided(path: Path, chance: random.Random) -> None:
    """A value of a line, or bytes of a file."""
    if chance.random() < 0.4:
        mutate_any(path, chance)
        return
    file = path / "decisions.jsonl"
    lines = file.read_text().splitlines()
    number = chance.randrange(len(lines))
    lines[number] = rewritten(lines[number], chance, 100_000)
    file.write_text("\n".join(lines) + "\n")


def write_vectors(path: Path) -> None:
    path.mkdir()
    rows = np.random.default_rng(0).standard_normal((12, 16)).astype(np.float32)
    np.save(path / "v.npy", rows)
    np.savez(path / "v.npz", rows)
    table = "id,subset\n" + "".join(f"{n:03d},train\n" for n in range(12))
    (path / "k.csv").write_text(table)
    pq.write_table(pa.table({"image_path": [f"/data/{n:03d}.png" for n in range(12)]}), path / "k.parquet")


def read_vectors(path: Path) -> str:
    """The vectors of items that the keys name; an archive of arrays is refused, unless it has become a matrix."""
    items = [DatasetItem(f"{n:03d}", subset="train", media=Image.from_file(f"{n:03d}.png")) for n in range(14)]
    with suppress(DatumaroClipError):
        PrecomputedVectors(path / "v.npz", path / "k.csv", "mine")
    told = []
    for keys in ("k.csv", "k.parquet"):
        found = PrecomputedVectors(path / "v.npy", path / keys, "mine").attached(items)
        told.append([None if one.embedding is None else one.embedding.vector.tobytes() for one in found])
    return repr(told)


def change_vectors(path: Path, chance: random.Random) -> None:
    """The header of the matrix, a cell of the keys, or bytes of a file."""
    kind = chance.randrange(3)
    if kind == 0:
        shape = chance.choice(
            ["(12, 16)", "(2**40, 16)", "(-1, 16)", "(12,)", "()", "(10**9, 10**9)", "None", "('a',)"]
        )
        dtype = chance.choice(["<f4", ">f8", "<c8", "|O", "<U9", "|S0", "<f2", "<m8", "[('a', '<f4')]", "V1"])
        header = f"{{'descr': '{dtype}', 'fortran_order': {chance.choice([True, False, 1, None])}, 'shape': {shape}, }}"
        data = header.ljust(117).encode() + b"\n"
        version = bytes([chance.choice([1, 1, 1, 2, 3, 9]), 0])
        (path / "v.npy").write_bytes(b"\x93NUMPY" + version + len(data).to_bytes(2, "little") + data + bytes(768))
    elif kind == 1:
        lines = (path / "k.csv").read_text().splitlines()
        cell = chance.choice(["", '"', "\0", "x" * 200_000, "../../outside", "\x1b[2J", "007", "1e5", "a,b,c,d", "001"])
        lines[chance.randrange(len(lines))] = f"{cell},{chance.choice(['train', '', cell])}"
        (path / "k.csv").write_text("\n".join(lines) + "\n")
    else:
        mutate_any(path, chance)


def mutate_any(path: Path, chance: random.Random) -> None:
    mutate, file = chance.choice(MUTATIONS), chance.choice(files_in(path))
    print("  ", mutate.__name__, file.relative_to(path), flush=True)
    mutate(file, path, chance)


def write_cache(path: Path) -> None:
    with VectorCache(path) as cache:
        cache.put(KEYS, [np.full(512, number) for number in range(len(KEYS))])


def read_cache(path: Path) -> str:
    with VectorCache(path) as cache:
        for number, vector in enumerate(cache.get(KEYS)):
            assert vector is None or np.array_equal(vector, np.full(512, number)), "another vector than was put"
        cache.put(KEYS, [np.full(512, number) for number in range(len(KEYS))])
        cache.verify()
    return ""


def write_model(path: Path) -> None:
    shutil.copytree(BUNDLED / "tiny", path)


def read_model(path: Path) -> str:
    """Digests first, as ``datum-clip model verify`` does; then what the model computes."""
    verify_files(path)
    encoder = load_model(path, precision="f32")
    return repr((encoder.submit_pixels(PIXELS).result().tobytes(), encoder.embed_texts(["a cup"]).tobytes()))


def sign_model(path: Path, chance: random.Random) -> None:
    name = chance.choice(SIGNED)
    if name.endswith(".json"):
        (path / name).write_text(rewritten((path / name).read_text(), chance, 100))
    else:
        become_huge_array(path / name, path, chance)
    values = json.loads((path / "manifest.json").read_text())
    if name != "manifest.json":
        data = (path / name).read_bytes()
        values["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    values.pop("digest", None)
    text = json.dumps(values, sort_keys=True)
    values["digest"] = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    (path / "manifest.json").write_text(json.dumps(values))


SUBJECTS = {
    "clip_hdf5": Subject(write_store("clip_hdf5"), read_store, sign_store),
    "clip_mmap": Subject(write_store("clip_mmap"), read_store, sign_store),
    "payload": Subject(write_dataset, read_dataset, sign_payload, always_signed=True),
    "manifest": Subject(write_store("clip_mmap"), read_store, sign_store, always_signed=True),
    "decisions": Subject(write_decided, read_decided, change_decided, always_signed=True),
    "vectors": Subject(write_vectors, read_vectors, change_vectors, always_signed=True),
    "cache": Subject(write_cache, read_cache, None),
    "model": Subject(write_model, read_model, sign_model),
}


def main(name: str, folder: Path, count: int, seed: int) -> None:
    subject, chance = SUBJECTS[name], random.Random(seed)
    sound = folder / "sound"
    subject.write(sound)
    wanted = subject.read(sound)
    (folder / "outside").write_text("a secret")
    limit_memory()
    refused = 0
    for number in range(count):
        copy = folder / "copy"
        shutil.copytree(sound, copy)
        signed = subject.always_signed or (subject.sign is not None and number % 3 == 0)
        refused += try_one(subject, copy, chance, number, None if signed else wanted)
        shutil.rmtree(copy)
    assert (folder / "outside").read_text() == "a secret"
    assert sorted(path.name for path in folder.iterdir()) == ["outside", "sound"]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"refused {refused}, memory {most} MB at most")


def try_one(subject: Subject, copy: Path, chance: random.Random, number: int, wanted: str | None) -> bool:
    """Mutate and read a copy; return whether it was refused. A signed copy may differ from the original."""
    if wanted is None and subject.sign is not None:
        print(number, "signed", flush=True)
        subject.sign(copy, chance)
    else:
        mutate, file = chance.choice(MUTATIONS), chance.choice(files_in(copy))
        print(number, mutate.__name__, file.relative_to(copy), flush=True)
        mutate(file, copy, chance)
    signal.alarm(LONGEST)
    try:
        found = subject.read(copy)
    except DatumaroClipError as exc:
        print("  ", str(exc)[:200].replace("\n", " "))
        return True
    if wanted is None:
        assert subject.read(copy) == found, "other contents when read again: memory that nobody wrote"
    assert wanted in (None, found), "other contents than the undamaged one's"
    return False


def limit_memory() -> None:
    """Limit this process's memory to what it has now, and ``MOST_MEMORY``."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def share_out(names: list[str], count: int, seed: int) -> int:
    """Try every kind in its own process, which a library's crash may end; return how many kinds failed."""
    failed = 0
    for number, name in enumerate(names):
        share = len(range(number, count, len(names)))
        with tempfile.TemporaryDirectory(prefix="datumaro-clip-fuzz-") as folder:
            command = [sys.executable, __file__, "--one", name, folder, str(share), str(seed)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        last = (done.stdout.splitlines() or ["nothing"])[-1]
        print(f"{name}: {share} tried, {last}" if done.returncode == 0 else f"{name}: FAILED", flush=True)
        if done.returncode:
            print(done.stdout[-800:], done.stderr[-3000:])
            failed += 1
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        arguments: list[Any] = sys.argv[2:]
        main(arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3]))
    else:
        parser = argparse.ArgumentParser(description="Open damaged and hostile files.")
        parser.add_argument("kinds", nargs="*", choices=[*SUBJECTS, []], metavar="KIND", help=", ".join(SUBJECTS))
        parser.add_argument("--count", type=int, default=1000)
        parser.add_argument("--seed", type=int, default=0)
        told = parser.parse_args()
        sys.exit(share_out(told.kinds or list(SUBJECTS), told.count, told.seed))
