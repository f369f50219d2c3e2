"""The service's metrics, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    GC_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

# The promised limits, 10, 15 and 30 ms, are edges of buckets.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX = "datumaro_clip_"


class Metrics:
    """The metrics of one service, in a registry of its own.

    Attributes
    ----------
    requests : Counter
        By method, route and status; ``route`` is the template, never a path.
    request_seconds : Histogram
        By route.
    stage_seconds : Histogram
        By kind of search (``text``, ``similar``, ``objects``, ``hybrid``) and stage: ``embed``, ``index``,
        ``rescore`` (the part of ``index`` that scores proposals exactly), ``records``.
    text_cache : Counter
        By result: ``hit``, ``miss``.
    ingested : Counter
        By result: ``created``, ``known``, ``refused``, ``failed``.
    device_busy : Counter
        Seconds that the encoder or detector computed, by part; its rate is the share of time that it is busy.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(_PREFIX + name, help, labels, registry=registry)

        def histogram(name: str, help: str, *labels: str) -> Histogram:
            return Histogram(_PREFIX + name, help, labels, registry=registry, buckets=BUCKETS)

        self.requests = counter("http_requests_total", "Requests", "method", "route", "status")
        self.request_seconds = histogram("http_request_seconds", "Time to the end of the answer", "route")
        self.in_flight = Gauge(_PREFIX + "http_requests_in_flight", "Requests being answered", registry=registry)
        self.stage_seconds = histogram("search_seconds", "Time of a stage of a search", "kind", "stage")
        self.text_cache = counter("text_cache_total", "Texts looked up in the cache", "result")
        self.ingested = counter("ingest_total", "Pictures sent to be stored", "result")
        self.ingest_seconds = histogram("ingest_seconds", "Time from a picture's arrival to its commit")
        self.batch_size = Histogram(
            _PREFIX + "batch_size",
            "Requests worked on together",
            ("part",),
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.device_busy = counter("device_busy_seconds_total", "Seconds that a part of the model computed", "part")
        self.engine_seconds = histogram("engine_seconds", "Time of a search as the engine itself reports it", "engine")
        self.reloads = counter("store_reloads_total", "Stores reloaded after another process wrote them", "result")
        self._gauges = {
            name: Gauge(_PREFIX + name, help, labels, registry=registry)
            for name, help, labels in (
                ("index_items", "Vectors that can be found", ("store", "target")),
                ("index_age_seconds", "Time since the store that is searched was written", ("store",)),
                ("store_segments", "Segments of a store", ("store",)),
                ("queue_depth", "Requests that wait", ("queue",)),
                ("pictures_unavailable", "Pictures that cannot be served", ("store", "reason")),
                ("ready", "1 while the service takes requests", ()),
            )
        }
        self.build = Info(_PREFIX + "build", "What runs", registry=registry)
        ProcessCollector(registry=registry)
        registry.register(GC_COLLECTOR)

    def gauge(self, name: str, *labels: str) -> Gauge:
        """Return one of the gauges of the present state."""
        found: Gauge = self._gauges[name].labels(*labels) if labels else self._gauges[name]
        return found

    def measure(self, name: str, value: Callable[[], float], *labels: str) -> None:
        """Have a gauge call a function for its value whenever it is read."""
        self.gauge(name, *labels).set_function(value)

    @contextmanager
    def stage(self, kind: str, stage: str) -> Iterator[None]:
        """Time a stage of a search."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(kind, stage).observe(time.perf_counter() - start)

    @contextmanager
    def busy(self, part: str, size: int) -> Iterator[None]:
        """Count the size of a batch, and the seconds that a part of the model computes it."""
        self.batch_size.labels(part).observe(size)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.device_busy.labels(part).inc(time.perf_counter() - start)

    def exposition(self) -> bytes:
        """Write all metrics as Prometheus reads them."""
        return generate_latest(self._registry)
