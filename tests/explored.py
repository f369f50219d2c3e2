"""The explorer over a real service, and a tab in which a person looks at it."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import uvicorn
from commands import BIN
from datumaro.components.dataset import Dataset
from served import wait_until_ready
from servers import free_ports

from datumaro_clip.curate.decisions import Decision, DecisionLog, write_decisions
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.service import Settings, create_app
from datumaro_clip.service.running import listen
from datumaro_clip.vectors import ItemKey

#: In the catalogue that is explored.
ITEMS = 90


class Served:
    """The command as a person runs it; can be killed and started again."""

    def __init__(self, folder: Path, decisions: str = "store-decisions", sources: Sequence[str] = ("store",)) -> None:
        self.folder, self.decisions, self.sources, self.port = folder, decisions, sources, free_ports(1)[0]
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [BIN / "datum-clip", "explore", *self.sources, "--media-root", "catalogue", "--no-browser"]
        command += ["--decisions", self.decisions, "--model", "tiny"]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command), "--port", str(self.port)],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.address}/readyz", timeout=5)
                return
            except OSError:
                assert self.process.poll() is None
        raise AssertionError("the service did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Hosted:
    """The same page served by a thread of this process, which starts in a tenth of the time."""

    def __init__(self, folder: Path, decisions: str = "store-decisions", sources: Sequence[str] = ("store",)) -> None:
        settings = Settings(decisions=folder / decisions, media_root=(folder / "catalogue",), port=0)
        listening = listen(settings)
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = create_app({name: folder / name for name in sources}, tiny(), settings)
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        self.thread = Thread(target=self.server.run, args=([listening],))
        self.thread.start()
        with httpx.Client(base_url=self.address, trust_env=False) as client:
            wait_until_ready(client)

    def kill(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@cache
def tiny() -> Encoder:
    """The bundled model, loaded once."""
    return load_model("tiny")


class Page:
    """A tab, with what must never happen in one: a script's error, a request to anywhere else."""

    def __init__(self, browser: Any, served: Served | Hosted, path: str = "/explore", **options: Any) -> None:
        self.served, self.errors = served, []
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", "accept_downloads": True, **options}
        )
        self.tab = self.context.new_page()
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("request", self._asked)
        self.tab.goto(served.address + path)
        self.tab.wait_for_selector(".room")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.served.address, "blob:", "data:")):
            self.errors.append(f"asked for {request.url}")

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


def keys_of(store: Path) -> list[ItemKey]:
    return [ItemKey(item.id, item.subset) for item in Dataset.import_from(str(store), "clip_mmap")]


def propose(folder: Path, groups: list[list[ItemKey]], reason: str = "near_duplicate") -> Path:
    """Write down groups of near copies, or of others, as the tool does; the first of each stays."""
    told: list[Decision] = []
    for number, (keeper, *others) in enumerate(groups):
        told.append(Decision(keeper, "keep", group=number))
        told += [Decision(key, "drop", reason, group=number, representative=keeper) for key in others]
    folder.mkdir(exist_ok=True)
    path = folder / "proposals-clip_dedup.jsonl"
    write_decisions(path, DecisionLog("clip_dedup", {}, None, tuple(told)))
    return path
