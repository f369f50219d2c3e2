"""The running service: what its endpoints share, how it starts and stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sized
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image
from starlette.requests import Request

from datumaro_clip.curate.decisions import Decision, read_decisions
from datumaro_clip.errors import OptionError
from datumaro_clip.index import VectorIndex, open_index
from datumaro_clip.index.remote import RemoteEngine
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.objects.detector import Detector
from datumaro_clip.service.access import Tokens
from datumaro_clip.service.analysis import PictureAnalyzer
from datumaro_clip.service.collection import Collection
from datumaro_clip.service.embedding import Embedding
from datumaro_clip.service.fetching import NamedPictures
from datumaro_clip.service.ingest import Ingest
from datumaro_clip.service.metrics import Metrics
from datumaro_clip.service.pictures import NotServedError, Pictures
from datumaro_clip.service.pool import Pool
from datumaro_clip.service.presenting import Presenter
from datumaro_clip.service.problems import RequestError
from datumaro_clip.service.searching import Searcher
from datumaro_clip.service.settings import Settings
from datumaro_clip.service.snapshot import Snapshot
from datumaro_clip.service.thumbnails import Thumbnails
from datumaro_clip.system.machine import available_processors

log = logging.getLogger(__name__)

# Records looked at in one call to count pictures that cannot be served, and seconds between two calls.
_LOOKED_AT_TOGETHER, _PAUSE = 50, 0.01


class Service:
    """What the endpoints of a service share.

    Parameters
    ----------
    stores : mapping
        Directories by name.
    encoder : Encoder
        Of the vector space of the stores.
    settings : Settings
    detector : Detector, optional
        Finds objects in new pictures.

    Attributes
    ----------
    started : bool
        Whether every part has answered a first time.
    stopping : bool
        Whether the process is about to end; the service is then not ready.
    """

    def __init__(
        self, stores: Mapping[str, Path], encoder: Encoder, settings: Settings, detector: Detector | None = None
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.tokens = Tokens(settings)
        self.pool = Pool(settings.threads or max(available_processors(), 2), settings.queue)
        self.embedding = Embedding(encoder, self.pool, self.metrics, settings.queue, settings.text_cache)
        self.collection = Collection(stores, encoder.space, partial(self._open_index, len(stores)), self.metrics)
        self.searcher = Searcher(self.pool, self.metrics, settings.queue)
        self.pictures = Pictures(settings.media_root)
        self.thumbnails = Thumbnails()
        self.named_pictures = NamedPictures(settings, self.pool)
        self.analyzer = PictureAnalyzer(self.embedding, detector, self.pool, self.metrics)
        parts = (self.collection, self.embedding, self.analyzer, self.searcher, self.pictures, self.pool, self.metrics)
        self.ingest = {name: Ingest(name, *parts, settings) for name in stores}
        self.started = self.stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[Callable[[], None]] = []
        self._measure()

    @property
    def is_ready(self) -> bool:
        """Whether the service has started and is not stopping."""
        return self.started and not self.stopping

    def require_ready(self) -> None:
        """Raise a RequestError, 503, until the service has started, and once it stops."""
        if not self.is_ready:
            doing = "stops" if self.stopping else "starts"
            raise RequestError(503, f"the service {doing}; try again a little later", retry_after=2, kind="not_ready")

    def presenter(self, request: Request) -> Presenter:
        """Return what writes the answer to a request."""
        return Presenter((self.settings.public_url or str(request.base_url)).rstrip("/"), self.pictures)

    def ingest_of(self, store: str | None) -> Ingest:
        """Return the ingest of a store, the first where no name is given; a RequestError, 404, if there is none."""
        return self.ingest[self.collection.named(store).name]

    def decisions_folder(self, store: Path) -> Path:
        """Return the folder of a store's decisions: beside the store, unless the settings name another."""
        root, name = self.settings.decisions, store.resolve().name
        if root is None:
            return store.resolve().parent / f"{name}-decisions"
        return root if len(self.collection.stores) == 1 else root / name

    def decisions_about(self, snapshot: Snapshot, row: int) -> list[Decision]:
        """Return the decisions about an item in the file that the explorer writes; none where there is no file."""
        path = self.decisions_folder(snapshot.path) / "decisions.jsonl"
        key = snapshot.facts.keys[row]
        return [one for one in read_decisions(path).decisions if one.key == key] if path.is_file() else []

    async def start(self) -> None:
        """Warm up in the background: every part answers once, so that the first user waits no longer than the next."""
        self._tasks.append(asyncio.ensure_future(self._warm_up()))

    async def stop(self) -> None:
        """Stop, after the calls that run have ended."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in self._ends:
            end()
        await asyncio.to_thread(self.pool.close)

    def on_stop(self, end: Callable[[], None]) -> None:
        """Have a function called when the service stops."""
        self._ends.append(end)

    async def _warm_up(self) -> None:
        begin = time.perf_counter()
        vector = await self.embedding.text("a picture")
        await self.analyzer.analyze(_sample())
        for snapshot in self.collection:
            for target, found in snapshot.index.targets.items():
                if len(found):
                    await self.searcher.search([snapshot], vector, 1, target=target, kind="warm-up")
        self.started = True
        log.info("ready after %.1f s", time.perf_counter() - begin)
        self._tasks.append(asyncio.ensure_future(self.collection.watch(self.pool, self.settings.reload_interval)))
        for snapshot in self.collection:
            await self._count_unavailable(snapshot)

    async def _count_unavailable(self, snapshot: Snapshot) -> None:
        """Count the pictures that cannot be served, by reason; a few at a time, so that requests do not wait for it."""
        reasons: dict[str, list[str]] = {}

        def look(rows: range) -> None:
            for row in rows:
                try:
                    self.pictures.find(snapshot.path, snapshot.described(row).media)
                except NotServedError as found:
                    reasons.setdefault(found.reason, []).append(str(found))

        for start in range(0, len(snapshot), _LOOKED_AT_TOGETHER):
            await self.pool.run(look, range(start, min(start + _LOOKED_AT_TOGETHER, len(snapshot))))
            await asyncio.sleep(_PAUSE)
        for reason, messages in reasons.items():
            self.metrics.gauge("pictures_unavailable", snapshot.name, reason).set(len(messages))
            log.warning("%s: %d pictures cannot be served: %s", snapshot.name, len(messages), messages[0])

    def _open_index(self, stores: int, name: str, path: Path) -> VectorIndex:
        """Open the index of a store; each of several stores has a place of its own in an engine."""
        engine = self.settings.engine
        if engine is None:
            return open_index(path)
        if stores > 1 and "{store}" not in engine:
            raise OptionError("--engine serves several stores by a URL with {store} in it: a schema or index for each")
        index = open_index(path, engine.replace("{store}", name))
        if isinstance(index.engine, RemoteEngine) and hasattr(index.engine.remote, "tell"):
            index.engine.remote.tell = self.metrics.engine_seconds.labels(index.engine.name).observe
        return index

    def _measure(self) -> None:
        """Let the metrics say what runs, whether it is ready, and how long its queues are."""
        provenance = self.embedding.encoder.provenance
        self.metrics.build.info(
            {
                "space": provenance.space.fingerprint,
                "model": provenance.space.model,
                "precision": provenance.precision,
                "device": provenance.device,
                "engine": self.settings.engine or "exact",
            }
        )
        self.metrics.measure("ready", lambda: float(self.is_ready))
        queues: dict[str, Sized] = {
            "texts": self.embedding.texts,
            "pictures": self.embedding.pictures,
            "index": self.searcher.queries,
        }
        for name, queue in queues.items():
            self.metrics.measure("queue_depth", partial(len, queue), name)
        self.metrics.measure("queue_depth", lambda: float(self.pool.pending), "threads")


def _sample() -> bytes:
    """Make a picture to warm up with."""
    buffer = BytesIO()
    Image.effect_noise((96, 96), 40).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
