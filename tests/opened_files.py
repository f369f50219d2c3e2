"""Opens damaged and hostile copies of a store, a cache or a model directory, one after the other, in its own process.

    python tests/opened_files.py SUBJECT FOLDER COUNT SEED

prints each mutation before it is tried, and at the end how many were refused. Fails where one gives other contents than
the undamaged one, an error that is not of datumaro_clip.errors, or takes much memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutations import MUTATIONS, become_huge_array, files_in, rewritten

from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.errors import DatumaroClipError
from datumaro_clip.model.directory import verify_files
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.resolve import BUNDLED
from datumaro_clip.store import create_store, open_store
from datumaro_clip.testing.records import HEADER, make_records

MOST_MEMORY = 400 << 20
PIXELS = np.zeros((1, 96, 96, 3), np.uint8)
KEYS = [b"%032d" % number for number in range(60)]

SIGNED = ("manifest.json", "preprocessor_config.json", "tokenizer.json", "golden.npy")


class Subject(NamedTuple):
    """What is damaged.

    Attributes
    ----------
    write : callable
        Makes a sound one in a folder.
    read : callable
        All that it holds, as one string; of a cache, nothing but what it should hold.
    sign : callable or None
        Replaces a value in its manifest, with whatever digests there are made right.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], str]
    sign: Callable[[Path, random.Random], None] | None


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
        records = [(r.key, r.payload, r.embedding, [c.vector for c in r.captions]) for r in reader.records()]
        return repr((len(reader), dict(reader.subsets), list(reader.keys()), matrix, records))


def sign_store(path: Path, chance: random.Random) -> None:
    file = next(path.glob("clip_*.json"))
    body = rewritten("{" + file.read_text().partition("\n")[2], chance, 100_000)[1:].encode()
    digest = hashlib.sha256(body).hexdigest()
    file.write_bytes(f'{{"format":"{file.stem}","format_version":1,"sha256":"{digest}",\n'.encode() + body)


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
    if name != "manifest.json":
        values = json.loads((path / "manifest.json").read_text())
        data = (path / name).read_bytes()
        values["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (path / "manifest.json").write_text(json.dumps(values))


SUBJECTS = {
    "clip_hdf5": Subject(write_store("clip_hdf5"), read_store, sign_store),
    "clip_mmap": Subject(write_store("clip_mmap"), read_store, sign_store),
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
        signed = subject.sign is not None and number % 3 == 0
        refused += try_one(subject, copy, chance, number, None if signed else wanted)
        shutil.rmtree(copy)
    assert (folder / "outside").read_text() == "a secret"
    assert sorted(path.name for path in folder.iterdir()) == ["outside", "sound"]
    print("refused", refused)


def try_one(subject: Subject, copy: Path, chance: random.Random, number: int, wanted: str | None) -> bool:
    """Mutate and read; whether that was refused. What is signed anew may say other things than before."""
    if wanted is None and subject.sign is not None:
        print(number, "signed", flush=True)
        subject.sign(copy, chance)
    else:
        mutate, file = chance.choice(MUTATIONS), chance.choice(files_in(copy))
        print(number, mutate.__name__, file.relative_to(copy), flush=True)
        mutate(file, copy, chance)
    try:
        found = subject.read(copy)
    except DatumaroClipError as exc:
        print("  ", str(exc)[:200].replace("\n", " "))
        return True
    assert wanted in (None, found), "other contents than the undamaged one's"
    return False


def limit_memory() -> None:
    """Let this process take so much more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    main(arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3]))
