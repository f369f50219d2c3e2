"""Write the Grafana dashboard of the search service from the table below: ``python tools/make_dashboard.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboard.json"

_OVER = "[$__rate_interval]"


def _rate(metric: str, by: str) -> str:
    """Return the rate of a counter, by a label."""
    return f"sum by ({by}) (rate(datumaro_clip_{metric}{_OVER}))"


def _share(metric: str, of: str, by: str) -> str:
    """Return the rate of one counter relative to another's."""
    return f"{_rate(metric, by)} / {_rate(of, by)}"


def _quantile(share: float, metric: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    name, _, labels = metric.partition("{")
    selected = f"{name}_bucket" + (f"{{{labels}" if labels else "")
    return f"histogram_quantile({share}, {_rate(selected, f'le, {by}' if by else 'le')})"


_SEARCH = 'http_request_seconds{route=~"/search.*"}'
# Title, unit, width of 24, and what it shows: legend and PromQL.
PANELS: tuple[tuple[str, str, int, dict[str, str]], ...] = (
    ("Ready", "none", 4, {"{{instance}}": "datumaro_clip_ready"}),
    ("Requests", "reqps", 10, {"{{route}}": _rate("http_requests_total", "route")}),
    (
        "Answers that are no 2xx",
        "reqps",
        10,
        {"{{status}} {{route}}": _rate('http_requests_total{status!~"2.."}', "status, route")},
    ),
    (
        "Whole answer of a search (promised: 30 ms at the median, 15 ms where the text is known)",
        "s",
        12,
        {
            "median": _quantile(0.5, _SEARCH),
            "95th percentile": _quantile(0.95, _SEARCH),
            "99th percentile": _quantile(0.99, _SEARCH),
        },
    ),
    (
        "Stages of a search, median (promised of the index: 10 ms)",
        "s",
        12,
        {"{{stage}}": _quantile(0.5, "search_seconds", "stage")},
    ),
    (
        "Texts found in the cache",
        "percentunit",
        6,
        {"hits": _share('text_cache_total{result="hit"}', "text_cache_total", "instance")},
    ),
    ("Device busy", "percentunit", 6, {"{{part}}": _rate("device_busy_seconds_total", "part")}),
    ("Requests that wait", "none", 6, {"{{queue}}": "sum by (queue) (datumaro_clip_queue_depth)"}),
    (
        "Requests worked on together, mean",
        "none",
        6,
        {"{{part}}": _share("batch_size_sum", "batch_size_count", "part")},
    ),
    ("Pictures sent", "reqps", 8, {"{{result}}": _rate("ingest_total", "result")}),
    (
        "Time to a picture's commit",
        "s",
        8,
        {"median": _quantile(0.5, "ingest_seconds"), "99th percentile": _quantile(0.99, "ingest_seconds")},
    ),
    ("The engine's own time, median", "s", 8, {"{{engine}}": _quantile(0.5, "engine_seconds", "engine")}),
    ("Vectors that can be found", "none", 6, {"{{store}} {{target}}": "datumaro_clip_index_items"}),
    ("Age of what is searched", "s", 6, {"{{store}}": "datumaro_clip_index_age_seconds"}),
    ("Segments", "none", 4, {"{{store}}": "datumaro_clip_store_segments"}),
    ("Memory", "bytes", 4, {"{{instance}}": 'process_resident_memory_bytes{job="datumaro-clip"}'}),
    ("Processors", "none", 4, {"{{instance}}": f'rate(process_cpu_seconds_total{{job="datumaro-clip"}}{_OVER})'}),
)
_ROW, _HEIGHT = 24, 8


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for title, unit, width, shown in PANELS:
        if x + width > _ROW:
            x, y = 0, y + _HEIGHT
        panels.append(_panel(len(panels) + 1, title, unit, {"x": x, "y": y, "w": width, "h": _HEIGHT}, shown))
        x += width
    return {
        "uid": "datumaro-clip",
        "title": "datumaro-clip: search service",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "tags": ["datumaro-clip"],
        "panels": panels,
    }


def _panel(number: int, title: str, unit: str, place: dict[str, int], shown: dict[str, str]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "prometheus"}
    return {
        "id": number,
        "type": "stat" if title == "Ready" else "timeseries",
        "title": title,
        "gridPos": place,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source}
            for index, (legend, query) in enumerate(shown.items())
        ],
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")
