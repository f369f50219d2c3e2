"""What is shipped for operators works: with Debian's Prometheus and nginx, or by its schema where it cannot be run."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from served import Process, colours_store, picture

from datumaro_clip.model.loading import load_model
from datumaro_clip.testing.fake_encoder import COLOURS

DEPLOY = Path(__file__).parents[1] / "deploy"
TOKENS = "read reader\nwrite writer\n"


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program of the system is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"not on this machine: {program}")


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    root = tmp_path_factory.mktemp("deployed")
    (root / "tokens").write_text(TOKENS)
    store = colours_store(root / "colours", load_model("tiny"))
    arguments = ("--token-file", root / "tokens", "--trusted-proxy", "127.0.0.1", "--allowed-host", "search.example")
    with Process(root, store, *arguments, DATUMARO_CLIP_CACHE=str(root / "cache")) as process:
        with closing(process.ready("writer")) as client:
            for _ in range(3):
                assert client.post("/search", json={"query": "a red thing"}).status_code == 200
            assert client.post("/ingest/image", files={"file": picture((255, 105, 180))}).status_code == 200
            assert client.get("/nothing").status_code == 404
        yield process


def queries() -> list[str]:
    """Every PromQL that is shipped: of the dashboard and of the alerts."""
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    shown = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    return shown + [rule["expr"] for rule in rules]


@pytest.fixture(scope="module")
def prometheus(service: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("prometheus")
    told = (DEPLOY / "prometheus.yml").read_text().replace("service:8000", service.url.removeprefix("http://"))
    # The shipped file, but for the address and how often it asks.
    (root / "prometheus.yml").write_text(told.replace("interval: 5s", "interval: 200ms"))
    shutil.copy(DEPLOY / "alerts.yml", root)
    (root / "read-token").write_text("reader")
    checked = subprocess.run(["promtool", "check", "config", root / "prometheus.yml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    port = free_port()
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *arguments], cwd=root, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            until(lambda: client.get("/-/ready").status_code == 200, (root / "log").read_text)
            until(lambda: samples(client, "rate(datumaro_clip_http_requests_total[1m])"), (root / "log").read_text)
            yield client
    finally:
        process.kill()
        process.wait()


def until(found: Any, log: Any, seconds: float = 60) -> None:
    """Ask until there is an answer; AssertionError with the log if there is none."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, log()
        time.sleep(0.05)


def samples(client: httpx.Client, query: str) -> list[Any]:
    """What a query finds; fails if it is none that Prometheus understands."""
    answer = client.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    result: list[Any] = answer["data"]["result"]
    return result


# They find something only once it has happened: an engine, a damaged store, an outage, a slow or missing picture.
RARE = (
    "engine_seconds",
    "reloads",
    "unavailable",
    'up{job="datumaro-clip"} == 0',
    "ready == 0",
    "> 0.03",
    "> 0.01",
    "> 1",
    "predict",
)


@needs("prometheus")
@pytest.mark.parametrize("query", queries())
def test_prometheus_runs_every_query_against_the_real_service(prometheus: httpx.Client, query: str):
    found = samples(prometheus, query)
    if not any(part in query for part in RARE):
        assert found, query


@needs("prometheus")
def test_prometheus_loads_the_alerts_and_none_fires_on_a_sound_service(prometheus: httpx.Client):
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    assert [rule["name"] for rule in groups[0]["rules"]][:2] == ["ServiceDown", "ServiceNotReady"]
    assert {rule["health"] for rule in groups[0]["rules"]} <= {"ok", "unknown"}
    assert prometheus.get("/api/v1/alerts").json()["data"]["alerts"] == []


@needs("promtool")
def test_an_outage_fires(tmp_path: Path):
    """The rules on invented series: promtool says what fires when."""
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    series = [
        {"series": 'up{job="datumaro-clip",instance="a"}', "values": "1 0x20"},
        {"series": 'datumaro_clip_ready{instance="b"}', "values": "0x20"},
        {"series": 'datumaro_clip_http_requests_total{instance="c",status="500"}', "values": "0+10x20"},
    ]
    wanted = [
        ("ServiceDown", {"severity": "page", "job": "datumaro-clip", "instance": "a"}),
        ("ServiceNotReady", {"severity": "page", "instance": "b"}),
        ("Errors", {"severity": "page", "instance": "c"}),
    ]
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    told = {rule["alert"]: rule["annotations"] for rule in rules}
    tests = [
        {
            "eval_time": "10m",
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": labels,
                    "exp_annotations": {
                        key: text.replace("{{ $labels.instance }}", labels["instance"])
                        for key, text in told[name].items()
                    },
                }
            ],
        }
        for name, labels in wanted
    ]
    test = {
        "rule_files": ["alerts.yml"],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": tests}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("nginx")
@needs("openssl")
def test_nginx_ends_tls_before_the_service_and_ids_keep_their_escapes(service: Process, tmp_path: Path):
    port = free_port()
    told = (DEPLOY / "nginx.conf").read_text()
    told = told.replace("127.0.0.1:8000", service.url.removeprefix("http://")).replace(
        "443 ssl", f"127.0.0.1:{port} ssl"
    )
    (tmp_path / "nginx.conf").write_text(told)
    made = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=search.example -keyout key.pem -out certificate.pem"
    names = "subjectAltName=DNS:search.example,IP:127.0.0.1"
    subprocess.run(["openssl", *made.split(), "-addext", names], cwd=tmp_path, check=True, capture_output=True)
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off; user root;"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        headers = {"Authorization": "Bearer writer", "Host": "search.example"}
        base = f"https://127.0.0.1:{port}"
        with httpx.Client(base_url=base, headers=headers, verify=trusted, timeout=30, trust_env=False) as client:
            until(lambda: client.get("/readyz").status_code == 200, (tmp_path / "log").read_text)
            [hit] = client.post("/search", json={"query": "a red thing", "top_k": 1}).json()
            assert (
                hit["image_url"]
                == f"https://search.example/images/colours/{hit['subset']}/{hit['id']}/{list(COLOURS).index(hit['id'])}.png"
            )
            path = hit["image_url"].removeprefix("https://search.example")
            assert client.get(path).headers["content-type"] == "image/png"
            sent = client.post(
                "/ingest/image", files={"file": picture(COLOURS["cyan"], 60)}, data={"subset": "50% a/b"}
            ).json()
            assert client.get(f"/record/{sent['image_id']}").json()["subset"] == "50% a/b"
            assert client.get("/metrics").status_code == 404
            assert client.get("/stores", headers={"Authorization": "Bearer no"}).status_code == 401
            large = {"file": b"\0" * (1 << 20)}
            assert client.post("/analyze", files=large).status_code == 415
            answer = client.post("/login", data={"token": "reader"}, follow_redirects=False)
            assert "Secure" in answer.headers["set-cookie"]
            assert answer.headers["x-request-id"]
    finally:
        process.terminate()
        process.wait()


def test_the_dashboard_is_what_its_table_says(tools: Path):
    from make_dashboard import TARGET, dashboard

    assert json.loads(TARGET.read_text()) == dashboard()
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
    assert len(set(taken)) == len(taken)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)


def test_compose_is_valid_by_its_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_grafanas_own_types_read_the_dashboard_and_lose_nothing():
    register_default_plugins()
    told = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(told)))

    def kept(before: Any, after: Any) -> Any:
        """What is left of what there was; defaults that were added do not count."""
        if isinstance(before, dict):
            return {name: kept(value, after.get(name)) for name, value in before.items()}
        if isinstance(before, list):
            return [kept(*pair) for pair in zip(before, after, strict=True)]
        return after

    assert kept(told, again) == told


def test_compose_starts_sound_services_only():
    told = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(told["services"]) == {"service", "postgres", "prometheus", "grafana"}
    for name, service in told["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        # The service's own check is in its Dockerfile.
        assert name == "service" or "healthcheck" in service
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            is_shipped = source.startswith("./") and (DEPLOY / source).exists()
            assert is_shipped or source in told["volumes"] or source in ("./stores", "./read-token"), source
        assert set(service.get("secrets", [])) <= set(told["secrets"])
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()


def test_the_image_runs_without_torch_and_not_as_root():
    stages = re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(), flags=re.M)[1:]
    assert len(stages) == 2
    assert "torch" not in stages[1]
    assert "USER datum-clip" in stages[1]
    assert "HF_HUB_OFFLINE=1" in stages[1]


@needs("systemd-analyze")
def test_the_unit_is_one_that_systemd_reads(tmp_path: Path):
    told = (DEPLOY / "datum-clip-serve.service").read_text()
    unit = tmp_path / "datum-clip-serve.service"
    unit.write_text(told.replace("/opt/datum-clip/bin/datum-clip", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
