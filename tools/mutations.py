"""Damage to files, by accident or malice: flipped bytes; cut, swapped and linked files; files that become pickles."""

from __future__ import annotations

import json
import os
import pickle
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

HOSTILE_VALUES: tuple[Any, ...] = (
    *(-1, 0, 2**31, 2**63, 10**30, 1e308, True, None, "", "\0", "../../outside", "/etc/passwd", "C:\\x", "|O"),
    *([], {}, [[]], {"a": {"b": [1] * 100}}, ["../x"] * 3, {"../outside": 3}, "x" * 100_000),
)


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def files_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)


def flip(path: Path, root: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 12)):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)


def flip_near_the_start(path: Path, root: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 6)):
        data[chance.randrange(min(len(data), 2000))] = chance.choice((0, 1, 127, 128, 255))
    path.write_bytes(data)


def truncate(path: Path, root: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def grow(path: Path, root: Path, chance: random.Random) -> None:
    """A file of a terabyte, none of which is on the disk."""
    os.truncate(path, 1 << 40)


def swap(path: Path, root: Path, chance: random.Random) -> None:
    other = chance.choice(files_in(root))
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def delete(path: Path, root: Path, chance: random.Random) -> None:
    path.unlink()


def make_directory(path: Path, root: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def link_outside(path: Path, root: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(root.parent / "outside")


def link_to_itself(path: Path, root: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def become_a_pickle(path: Path, root: Path, chance: random.Random) -> None:
    path.write_bytes(pickle.dumps(Trap(root.parent / "executed")))


def become_objects(path: Path, root: Path, chance: random.Random) -> None:
    file = BytesIO()
    np.save(file, np.array([Trap(root.parent / "executed")], object), allow_pickle=True)
    path.write_bytes(file.getvalue())


def become_huge_array(path: Path, root: Path, chance: random.Random) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100))


def become_noise(path: Path, root: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randrange(5000)))


MUTATIONS = (
    *(flip, flip_near_the_start) * 3,
    *(truncate, truncate, grow, swap, swap, delete, make_directory, link_outside, link_to_itself),
    *(become_a_pickle, become_objects, become_huge_array, become_noise),
)


def rewritten(text: str, chance: random.Random, deepest: int) -> str:
    """Return JSON with one of its values replaced by a hostile one; one in ten is a nest of ``deepest`` lists."""
    value = json.loads(text)
    node: Any = value
    while True:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not (isinstance(node[key], dict | list) and node[key]) or chance.random() < 0.1:
            break
        node = node[key]
    node[key] = "deep" if chance.random() < 0.1 else chance.choice(HOSTILE_VALUES)
    return json.dumps(value).replace('"deep"', "[" * deepest + "]" * deepest)
