"""What watches in `compose.yaml`: Prometheus and Alertmanager run by the programs of the system."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import yaml

from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from tests.support.compose import COMPOSE, DOCKER, mounted, read_compose
from tests.support.patience import LIMIT_S
from tests.support.programs import need_program
from tests.support.waiting import wait_until

PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""The services, and their programs in Debian."""


def test_every_target_is_a_service_and_answers_on_its_network() -> None:
    services = read_compose(COMPOSE)["services"]
    targets = {
        target
        for file in (DOCKER / "targets").glob("*.yml")
        for group in yaml.safe_load(file.read_text())
        for target in group["targets"]
    }

    assert len(targets) == 5
    for target in targets:
        name, port = target.split(":")
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"]), target
        assert port == ("8405" if name == "proxy" else "9090")
    assert services["proxy"]["environment"]["PROXY_METRICS"] == ":8405"


def test_every_file_of_targets_that_prometheus_reads_has_one_for_compose() -> None:
    read = {path.name for path in (DOCKER / "../prometheus/targets").glob("*.yml")}

    assert {path.name for path in (DOCKER / "targets").glob("*.yml")} == read


def test_grafana_finds_dashboards_and_prometheus_where_its_provisioning_looks() -> None:
    services = read_compose(COMPOSE)["services"]
    mounts = {m.split(":")[1]: DOCKER / m.split(":")[0] for m in services["grafana"]["volumes"]}
    provisioning = mounts["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/quota-service.yaml").read_text())[
        "providers"
    ]
    url = urlsplit(services["grafana"]["environment"]["PROMETHEUS_URL"])

    assert list(mounts[provider["options"]["path"]].glob("*.json"))
    assert f"{url.port}:{url.port}" in services["prometheus"]["ports"][0]
    assert set(services[url.hostname or ""]["networks"]) & set(services["grafana"]["networks"])


@pytest.mark.system
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_compose_starts_becomes_ready(name: str, tmp_path: Path) -> None:
    with started(name, tmp_path) as ready:
        if name == "prometheus":
            targets = ready.replace("/-/ready", "/api/v1/targets")
            assert wait_until(lambda: {"api-1:9090", "worker-2:9090"} <= instances(targets))


def instances(url: str) -> set[str]:
    """Return the targets that a Prometheus scrapes; it finds them within seconds of its start."""
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:  # noqa: S310
        active = orjson.loads(answer.read())["data"]["activeTargets"]
    return {target["labels"]["instance"] for target in active}


@pytest.mark.system
def test_a_target_that_is_none_is_named_with_its_file(tmp_path: Path) -> None:
    service = read_compose(COMPOSE)["services"]["prometheus"]
    root = mounted(service, tmp_path)
    (root / "etc/prometheus/targets/haproxy.yml").write_text("- targets: proxy:8405\n")

    done = subprocess.run(
        [need_program("promtool"), "check", "config", root / "etc/prometheus/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "targets/haproxy.yml" in done.stdout + done.stderr
    assert "proxy:8405" in done.stdout + done.stderr


@contextmanager
def started(name: str, folder: Path) -> Iterator[str]:
    """Start a service by its command; yields the URL of its health check once that passes."""
    service = read_compose(COMPOSE)["services"][name]
    root = mounted(service, folder)
    url = urlsplit(service["healthcheck"]["test"][-1])
    port = free_loopback_port()
    command = [placed(word, service, root) for word in service["command"]]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [need_program(PROGRAMS[name]), *command, f"--web.listen-address={LOOPBACK}:{port}"],
            cwd=root,
            stdout=output,
            stderr=output,
        )
    try:
        ready = f"http://{LOOPBACK}:{port}{url.path}"
        assert wait_until(lambda: process.poll() is not None or answers(ready)), log.read_text()
        assert process.poll() is None, log.read_text()
        yield ready
    finally:
        process.kill()
        process.wait()


def placed(word: str, service: dict[str, Any], root: Path) -> str:
    """Return a word of a command with the paths of mounts below a folder."""
    for mount in service["volumes"]:
        top = mount.split(":")[1]
        word = word.replace(f"={top}", f"={root}{top}")
    return word


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
