"""Stores to serve in tests, and clients that wait until a service is ready."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from datumaro_clip.model.encoder import Encoder
from datumaro_clip.objects.detector import Detector
from datumaro_clip.service import Settings, create_app
from datumaro_clip.store import CaptionVector, Header, ObjectVector, Record, create_store
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.testing.fake_encoder import COLOURS
from datumaro_clip.vectors import ItemKey

CLASSES = ("chair", "lamp")
#: Ids that a URL, a shell or a proxy could misread.
STRANGE_IDS = ("a/b", "..", ".", "../../etc/passwd", "a b", "50%", "a#b?c", "ümläut 漢字", "~7E", "", "a%2Fb", "x\\y")


def picture(colour: Sequence[int], side: int = 48, kind: str = "PNG") -> bytes:
    """An encoded picture of one colour, with a darker square in it so that it is not blank."""
    pixels = np.full((side, side, 3), colour, np.uint8)
    pixels[side // 3 : side // 2, side // 3 : side // 2] //= 2
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def make_store(
    path: Path,
    items: Mapping[ItemKey, Mapping[str, Any]],
    encoder: Encoder,
    *,
    kind: str = "clip_mmap",
    save: bool = True,
) -> Path:
    """Write a store.

    Each item has a ``colour``, and by choice ``captions``, ``objects`` (class, confidence or None, colour, box x1 y1 x2
    y2), ``tags``, ``added`` and ``attributes``.
    """
    classes = [[name, "", {"$": "set", "v": []}] for name in CLASSES]
    header = Header(categories={"label": {"class": "LabelCategories", "items": classes, "groups": []}})
    with create_store(path, kind, header) as writer:
        writer.declare(encoder.provenance)
        for number, (key, item) in enumerate(items.items()):
            data = picture(item["colour"])
            media: dict[str, Any] = {"type": "image", "size": [48, 48]}
            if save:
                media["file"] = writer.media.add_bytes(data, f"{number}.png")
            writer.add(_record(key, item, data, media, encoder))
    return path


def _record(key: ItemKey, item: Mapping[str, Any], data: bytes, media: dict[str, Any], encoder: Encoder) -> Record:
    [vector] = encoder.embed_images([data])
    texts = list(item.get("captions", ()))
    captions = [
        CaptionVector(n, text, float(text @ vector))
        for n, text in enumerate(encoder.embed_texts(texts) if texts else ())
    ]
    annotations: list[dict[str, Any]] = [{"type": "Caption", "caption": text} for text in texts]
    objects = []
    for name, confidence, colour, box in item.get("objects", ()):
        attributes = {} if confidence is None else {"score": confidence}
        [found] = encoder.embed_images([picture(colour)])
        objects.append(ObjectVector(len(annotations), found, box, name, confidence))
        annotations.append(
            {"type": "Bbox", "points": list(box), "label": CLASSES.index(name), "attributes": attributes}
        )
    attributes = dict(item.get("attributes", {}))
    attributes |= {name: item[key] for name, key in (("tags", "tags"), ("clip_added", "added")) if key in item}
    payload = {"media": media, "annotations": annotations, "attributes": attributes}
    return Record(key, payload, vector, tuple(captions), tuple(objects))


def colours_store(path: Path, encoder: Encoder | None = None, **options: Any) -> Path:
    """Ten items, each of a colour and called so, with that colour in its caption."""
    items = {
        ItemKey(name, "train" if number % 2 else "val"): {
            "colour": colour,
            "captions": [f"a {name} thing"],
            "tags": ["warm"] if name in ("red", "orange", "yellow") else ["cold"],
            "added": f"2026-01-{number + 1:02d}T00:00:00Z",
            "attributes": {"number": number, "name": name},
        }
        for number, (name, colour) in enumerate(COLOURS.items())
    }
    return make_store(path, items, encoder or FakeEncoder(), **options)


@contextmanager
def client_of(
    stores: Mapping[str, Path] | Path,
    encoder: Encoder | None = None,
    settings: Settings | None = None,
    detector: Detector | None = None,
) -> Iterator[TestClient]:
    """A client of a service that is ready."""
    found = {"colours": stores} if isinstance(stores, Path) else stores
    app = create_app(found, encoder or FakeEncoder(), settings, detector)
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        wait_until_ready(client, (settings or Settings()).root_path)
        yield client


def wait_until_ready(client: TestClient | httpx.Client, prefix: str = "", seconds: float = 60) -> None:
    """Ask until the service is ready; AssertionError if it does not become so."""
    end = time.monotonic() + seconds
    while client.get(f"{prefix}/readyz").status_code != 200:
        assert time.monotonic() < end, "the service does not become ready"
        time.sleep(0.01)


class Process:
    """``datum-clip serve`` as a process of its own, on a free port.

    Attributes
    ----------
    url : str
        Its address.
    log : Path
        Where its log goes.
    """

    program: tuple[str, ...] = ("datumaro_clip.cli", "serve")
    announcement = r"listening on (http://[^\s\"]+)"

    def __init__(self, folder: Path, *arguments: object, **environment: str) -> None:
        self.log = folder / f"serve-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", *self.program, *map(str, arguments), "--port", "0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        self.url = self._address()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def ready(self, token: str | None = None) -> httpx.Client:
        """A client, once the service is ready."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)
        wait_until_ready(client)
        return client

    def _address(self) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = re.search(self.announcement, self.log.read_text(errors="replace"))
            if found:
                return found[1]
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            time.sleep(0.02)
        raise AssertionError(self.log.read_text(errors="replace"))


class Uvicorn(Process):
    """The same service, started by uvicorn; stores and settings are variables of the environment."""

    program = ("uvicorn", "--factory", "datumaro_clip.service:app")
    announcement = r"running on (http://\S+)"
