"""Use a service for a while; fail if its memory, open files or threads grow.

    python tools/soak_service.py [--minutes 20]

starts ``datum-clip serve`` with the model ``tiny`` over a drawn catalogue; three clients search, look pictures up,
upload and remove what they uploaded. The figures are the server's, judged as tools/soak.py judges its own.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from threading import Event

import httpx
from soak import Usage, report, usage_of, watched

from datumaro_clip.demo.catalogue import draw_item, sample_spec, write_catalogue

_WORDS = ("armoire", "lampe torche", "a red umbrella", "théière bleue", "chair", "kite with stars", "small bag", "sofa")


def main() -> int:
    """Use the service until the time is up; print how it grew."""
    parser = argparse.ArgumentParser(description="Use a service for a while; fail if it grows.")
    parser.add_argument("--minutes", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="datumaro-clip-soak-") as folder:
        return report(list(_used(Path(folder), 60 * options.minutes)))


def _used(folder: Path, seconds: float) -> Iterator[Usage]:
    environment = {**os.environ, "DATUMARO_CLIP_CACHE": str(folder / "cache"), "DATUMARO_CLIP_MODEL": "tiny"}
    write_catalogue(folder / "coco", items=200, seed=1)
    export = ["datum", "export", "-i", f"{folder / 'coco'}:coco", "-f", "clip_mmap", "-o", str(folder / "store")]
    subprocess.run(
        [*export, "--", "--save-media", "--texts", "captions"], env=environment, check=True, capture_output=True
    )
    log = folder / "log"
    with log.open("wb") as output:
        command = ["datum-clip", "serve", str(folder / "store"), "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    ended = Event()
    try:
        while not (found := re.search(r"listening on (http://[^\s\"]+)", log.read_text())):
            time.sleep(0.1)
        with ThreadPoolExecutor(3) as clients:
            jobs = [clients.submit(_use, found[1], seed, ended) for seed in range(3)]
            yield from watched(seconds, partial(_usage, process.pid))
            ended.set()
            print(f"{sum(job.result() for job in jobs)} requests")
    finally:
        ended.set()
        process.terminate()
        process.wait()


def _usage(process: int) -> Usage:
    """Return the server's usage after two seconds."""
    time.sleep(2)
    return usage_of(process)


def _use(url: str, seed: int, ended: Event) -> int:
    """Ask until told to end; how many requests were made."""
    random, count = Random(seed), 0
    picture = _picture(seed)
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        while not ended.is_set():
            text = f"{random.choice(_WORDS)} {random.randrange(3000)}"
            hits = _ok(
                client.post(
                    "/search", json={"query": text, "top_k": 5, "target": random.choice(("pictures", "captions"))}
                )
            )
            for hit in hits:
                client.get(f"/thumbnails/{hit['image_id']}?size=128")
                client.get(f"/record/{hit['image_id']}")
            _ok(client.post("/search/similar", files={"file": picture}))
            taken = _ok(
                client.post("/ingest/image", files={"file": picture + bytes([seed, count % 256, count // 256 % 256])})
            )
            _ok(client.get(f"/record/{taken['image_id']}"))
            _ok(client.delete(f"/record/{taken['image_id']}"))
            client.post("/search", json={"query": ""})
            client.get("/metrics")
            count += 10 + 2 * len(hits)
    return count


def _picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw_item(sample_spec(Random(seed)), 200).save(buffer, "JPEG")
    return buffer.getvalue()


def _ok(answer: httpx.Response) -> list[dict[str, str]] | dict[str, str]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, str]] | dict[str, str] = answer.json()
    return found


if __name__ == "__main__":
    sys.exit(main())
