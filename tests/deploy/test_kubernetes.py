"""`deploy/kubernetes/` is what Kubernetes takes, and what the service understands.

Over 400 lines because each file is broken once in one table.
"""

import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
import yaml

from quota_service.definitions.files import load_exam_file
from quota_service.settings import Settings, read_settings
from tests.support.kubernetes import Rendered, main, problems, render
from tests.support.kubernetes_rules import COMMAND, WRITTEN, prometheus_rule, rule_files

_ROOT = Path(__file__).parents[2]
_KUBERNETES = _ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "large")


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    """The name of an overlay, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def rendered(overlay: str) -> Rendered:
    """What it renders to."""
    return render(_KUBERNETES / "overlays" / overlay)


def test_nothing_is_wrong_with_an_overlay(overlay: str) -> None:
    assert problems(_KUBERNETES / "overlays" / overlay) == []


def test_an_overlay_has_all_that_runs_and_no_autoscaler(rendered: Rendered) -> None:
    names = {(found.kind, re.sub(r"-[a-z0-9]{10}$", "", found.name)) for found in rendered.objects}

    assert names >= {
        ("Deployment", "quota-api"),
        ("Deployment", "quota-worker"),
        ("Service", "quota"),
        ("Job", "quota-migrate"),
        ("PodDisruptionBudget", "quota-api"),
        ("PodDisruptionBudget", "quota-worker"),
        ("CronJob", "quota-scale-up"),
        ("CronJob", "quota-scale-down"),
        ("ConfigMap", "quota-settings"),
        ("PodMonitor", "quota"),
        ("PrometheusRule", "quota"),
    }
    assert {kind for kind, _ in names}.isdisjoint({"Secret", "HorizontalPodAutoscaler"})


class Broken(NamedTuple):
    """One change that breaks a file, and the words in which the checker tells of it."""

    file: str
    right: str
    wrong: str
    told: str


BROKEN = {
    "unknown member": Broken(
        "base/kustomization.yaml", "resources:", "resource:", 'unknown field "resource"'
    ),
    "missing file": Broken(
        "base/kustomization.yaml", "  - worker.yaml", "  - workers.yaml", "workers.yaml"
    ),
    "mistyped setting": Broken(
        "base/settings.env", "QUOTA_ADMIN_HOST", "QUOTA_ADMN_HOST", "setting QUOTA_ADMN_HOST"
    ),
    "setting out of its limits": Broken(
        "base/settings.env", "NOTICE_S=3", "NOTICE_S=soon", "QUOTA_SHUTDOWN_NOTICE_S is 'soon'"
    ),
    "notice too short": Broken(
        "base/settings.env",
        "NOTICE_S=3",
        "NOTICE_S=1",
        "QUOTA_SHUTDOWN_NOTICE_S is 1 s; a proxy needs 2 s to notice",
    ),
    "address of the pod alone": Broken(
        "base/settings.env",
        "QUOTA_ADMIN_HOST=0.0.0.0",
        "QUOTA_ADMIN_HOST=127.0.0.1",
        "QUOTA_ADMIN_HOST is '127.0.0.1'",
    ),
    "secret that is not mounted": Broken(
        "base/settings.env",
        "=/etc/quota-service/secrets/redis-url",
        "=/etc/quota-service/redis-url",
        "'/etc/quota-service/redis-url'",
    ),
    "secret that is missing": Broken(
        "base/settings.env",
        "QUOTA_REDIS_URL_FILE=/etc/quota-service/secrets/redis-url\n",
        "",
        "QUOTA_REDIS_URL_FILE is missing",
    ),
    "secret for all to read": Broken(
        "base/settings.env",
        "QUOTA_REDIS_URL_FILE=",
        "QUOTA_REDIS_URL=redis://",
        "QUOTA_REDIS_URL is a secret",
    ),
    "number that is none": Broken(
        "base/scaling.env", "OPENING=4", "OPENING=many", "REPLICAS is 'many'"
    ),
    "key that is missing": Broken(
        "base/scaling.env", "REPLICAS_AT_OPENING", "REPLICAS_AT_NOON", "no 'REPLICAS_AT_OPENING'"
    ),
    "port that the settings do not have": Broken(
        "base/api.yaml", "containerPort: 8080", "containerPort: 8000", "containerPort api is 8000"
    ),
    "port that no pod has": Broken(
        "base/api.yaml", "targetPort: api", "targetPort: https", "has a port 'https'"
    ),
    "probe of nothing": Broken(
        "base/api.yaml", "path: /readyz", "path: /ready", "startupProbe asks '/ready'"
    ),
    "drain shorter than the look of a proxy": Broken(
        "base/api.yaml", "seconds: 10", "seconds: 2", "preStop is 2 s; a proxy needs 2 s"
    ),
    "killed before it has drained": Broken(
        "base/api.yaml",
        "terminationGracePeriodSeconds: 60",
        "terminationGracePeriodSeconds: 30",
        "terminationGracePeriodSeconds is 30; preStop and shutdown may take 33 s",
    ),
    "member that Kubernetes has not": Broken(
        "base/api.yaml", "maxSurge: 1", "maxSurges: 1", "'maxSurges' was unexpected"
    ),
    "selector of nothing": Broken(
        "base/api.yaml",
        "  selector:\n    app.kubernetes.io/name: quota-api",
        "  selector:\n    app.kubernetes.io/name: quota",
        "no pod has the labels",
    ),
    "command that is none": Broken(
        "base/worker.yaml", "args: [worker]", "args: [workers]", "invalid choice: 'workers'"
    ),
    "option that is none": Broken(
        "base/api.yaml", "args: [serve]", "args: [serve, --wrkers, '4']", "--wrkers 4"
    ),
    "root": Broken(
        "base/worker.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot is False"
    ),
    "file system that is written": Broken(
        "base/migrate.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "readOnlyRootFilesystem is False",
    ),
    "variables of Services": Broken(
        "base/migrate.yaml",
        "enableServiceLinks: false",
        "enableServiceLinks: true",
        "enableServiceLinks is True",
    ),
    "value of another type": Broken(
        "base/migrate.yaml", "backoffLimit: 5", "backoffLimit: five", "'five'"
    ),
    "port for anybody": Broken(
        "base/network-policy.yaml",
        "    - from:\n        - namespaceSelector:\n            matchLabels:\n"
        "              kubernetes.io/metadata.name: monitoring\n      ports",
        "    - ports",
        "anybody reaches ['admin']",
    ),
    "port of a rule that no pod has": Broken(
        "base/network-policy.yaml", "port: admin", "port: metrics", "has a port 'metrics'"
    ),
    "schedule that is none": Broken(
        "base/scaling.yaml", '"0 11 14 3 *"', '"0 25 14 3 *"', "hour '25' is not from 0 to 23"
    ),
    "time zone that is none": Broken(
        "base/scaling.yaml", "Asia/Shanghai", "Asia/Shangai", "timeZone is 'Asia/Shangai'"
    ),
    "Deployment that is none": Broken(
        "base/scaling.yaml", "deployment/quota-api", "deployment/api", "'deployment/api'"
    ),
    "account that is none": Broken(
        "base/scaling.yaml",
        "serviceAccountName: quota-scale",
        "serviceAccountName: scale",
        "there is no ServiceAccount 'scale'",
    ),
    "port that is not scraped": Broken(
        "prometheus-operator/pod-monitor.yaml", "port: admin", "port: 9090", "spec.podMetricsEndp"
    ),
    "member that a PodMonitor has not": Broken(
        "prometheus-operator/pod-monitor.yaml",
        "scrapeTimeout: 4s",
        "timeout: 4s",
        "podMetricsEndpoints.0.timeout: Extra inputs are not permitted: '4s'",
    ),
    "member that a rule has not": Broken(
        "prometheus-operator/prometheus-rule.yaml",
        "for: 10s",
        "form: 10s",
        "form: Extra inputs are not permitted: '10s'",
    ),
    "missing file of a component": Broken(
        "prometheus-operator/kustomization.yaml", "pod-monitor.yaml", "pods.yaml", "pods.yaml"
    ),
    "image without a tag": Broken(
        "overlays/small/kustomization.yaml",
        "    newTag: 0.1.0\n",
        "",
        "image 'ghcr.io/example/quota-service' has no registry or no tag",
    ),
    "patch of nothing": Broken(
        "overlays/large/kustomization.yaml",
        "path: /spec/template/spec/containers/0/resources",
        "path: /spec/template/spec/containers/1/resources",
        "/spec/template/spec/containers/1/resources",
    ),
    "number of pods that is none": Broken(
        "overlays/large/kustomization.yaml", "OPENING=16", "OPENING=all", "REPLICAS is 'all'"
    ),
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the folder, to break."""
    return Path(shutil.copytree(_KUBERNETES, tmp_path / "kubernetes"))


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_told_with_its_file_and_value(broken: Broken, copied: Path) -> None:
    file = copied / broken.file
    text = file.read_text(encoding="utf-8")
    assert broken.right in text
    file.write_text(text.replace(broken.right, broken.wrong), encoding="utf-8")

    found = problems(copied / "overlays" / ("large" if "large" in broken.file else "small"))

    told = [text for text in found if broken.told in text]
    assert told, found
    # kustomize names the folder of a kustomization.yaml that it cannot read.
    named = str(file.parent if file.name == "kustomization.yaml" else file)
    assert any(named in text for text in told), told


def test_each_file_is_broken_once() -> None:
    files = {
        str(file.relative_to(_KUBERNETES))
        for file in _KUBERNETES.rglob("*")
        if file.is_file() and file.suffix in {".yaml", ".env"}
    }

    assert {broken.file for broken in BROKEN.values()} == files


def test_the_migration_can_be_applied_alone(rendered: Rendered) -> None:
    readme = (_KUBERNETES / "README.md").read_text(encoding="utf-8")
    (chosen,) = re.findall(r"apply -k \S+ -l app\.kubernetes\.io/name=(\S+)", readme)

    applied = [
        made
        for made in rendered.objects
        if made.content["metadata"].get("labels", {}).get("app.kubernetes.io/name") == chosen
    ]

    (job,) = applied
    assert job.kind == "Job"
    assert job.pod is not None
    assert job.pod.config_maps == []
    assert "serviceAccountName" not in job.pod.spec


def test_variables_of_our_own_service_are_no_settings(rendered: Rendered) -> None:
    (service,) = rendered.of("Service").values()
    links = _service_links(service.name, "10.96.0.7", service.spec["ports"])

    assert links["QUOTA_PORT_80_TCP"] == "tcp://10.96.0.7:80"
    assert read_settings(links) == read_settings({})
    assert read_settings(links | {"QUOTA_PORT": "8080"}).port == 8080


def _service_links(service: str, host: str, ports: list[Mapping[str, object]]) -> dict[str, str]:
    """The variables that Kubernetes gives a pod for a Service (`enableServiceLinks`)."""
    name = service.upper().replace("-", "_")
    links = {
        f"{name}_SERVICE_HOST": host,
        f"{name}_SERVICE_PORT": str(ports[0]["port"]),
        f"{name}_PORT": f"tcp://{host}:{ports[0]['port']}",
    }
    for port in ports:
        number = str(port["port"])
        prefix = f"{name}_PORT_{number}_TCP"
        links |= {
            f"{name}_SERVICE_PORT_{str(port['name']).upper()}": number,
            prefix: f"tcp://{host}:{number}",
            f"{prefix}_PROTO": "tcp",
            f"{prefix}_PORT": number,
            f"{prefix}_ADDR": host,
        }
    return links


@pytest.mark.parametrize(
    ("namespace", "reached"),
    [
        ("monitoring", {("quota-api", "admin"), ("quota-worker", "admin")}),
        ("ingress", {("quota-api", "api")}),
        ("quota", set()),
        ("default", set()),
    ],
)
def test_prometheus_alone_reaches_the_admin_port(
    rendered: Rendered, namespace: str, reached: set[tuple[str, str]]
) -> None:
    found = {
        (pod.labels["app.kubernetes.io/name"], port)
        for _, pod in rendered.pods
        for port in pod.ports
        if _lets_in(rendered, pod.labels, port, namespace)
    }

    assert found == reached


def _lets_in(rendered: Rendered, labels: Mapping[str, str], port: str, namespace: str) -> bool:
    """Whether the policies let a pod of another namespace connect to a port."""
    policies = [policy.spec for policy in rendered.of("NetworkPolicy").values()]
    mine = [
        policy
        for policy in policies
        if policy["podSelector"]["matchLabels"].items() <= dict(labels).items()
    ]
    of_namespace = {"kubernetes.io/metadata.name": namespace}.items()
    return not mine or any(
        port in [each["port"] for each in rule["ports"]]
        and any(
            peer["namespaceSelector"]["matchLabels"].items() <= of_namespace
            for peer in rule["from"]
        )
        for policy in mine
        for rule in policy["ingress"]
    )


def test_the_operator_gets_the_rules_of_prometheus(rendered: Rendered) -> None:
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in rule_files()]

    assert WRITTEN.read_text(encoding="utf-8") == prometheus_rule(), f"run `{COMMAND}`"
    assert rendered.of("PrometheusRule")["quota"].spec["groups"] == [
        group for file in files for group in file["groups"]
    ]


def test_rules_tell_processes_apart_by_the_jobs_of_the_pod_monitor(rendered: Rendered) -> None:
    text = WRITTEN.read_text(encoding="utf-8")
    monitor = rendered.of("PodMonitor")["quota"].spec
    (chosen,) = monitor["selector"]["matchExpressions"]

    jobs = {job for job in re.findall(r'job="([^"]+)"', text) if job.startswith("quota")}

    assert monitor["jobLabel"] == chosen["key"]
    assert jobs == set(chosen["values"])


def test_it_is_scaled_before_the_opening_and_back_after_it(rendered: Rendered) -> None:
    exam = load_exam_file(_ROOT / "quota_service" / "exams" / "ccaa-2023-1.toml")
    opens_at = datetime.fromtimestamp(exam.registration.opens_at_ms / 1000, UTC)
    up, down = (rendered.of("CronJob")[f"quota-scale-{way}"].spec for way in ("up", "down"))

    begins, ends = (_in_year(job, opens_at.year) for job in (up, down))

    assert 30 * 60 <= (opens_at - begins).total_seconds() <= 2 * 3600
    assert (ends - opens_at).total_seconds() >= 3600


def _in_year(job: Mapping[str, str], year: int) -> datetime:
    minute, hour, day, month, _ = job["schedule"].split()
    zone = ZoneInfo(job["timeZone"])
    return datetime(year, int(month), int(day), int(hour), int(minute), tzinfo=zone)


def test_what_it_is_scaled_back_to_is_what_the_overlay_runs(rendered: Rendered) -> None:
    (scaling,) = (data for name, data in rendered.config.items() if "scaling" in name)
    replicas = rendered.of("Deployment")["quota-api"].spec["replicas"]

    assert int(scaling["REPLICAS_OTHERWISE"]) == replicas
    assert int(scaling["REPLICAS_AT_OPENING"]) > replicas


def test_the_readme_counts_the_connections_to_postgres(overlay: str, rendered: Rendered) -> None:
    deployments = rendered.of("Deployment")
    usually, workers = (
        deployments[name].spec["replicas"] for name in ("quota-api", "quota-worker")
    )
    (scaling,) = (data for name, data in rendered.config.items() if "scaling" in name)
    most = int(scaling["REPLICAS_AT_OPENING"])
    connections = (most + 1 + workers + 1) * Settings().postgres_pool_max

    row = f"| `overlays/{overlay}` | {usually} | {most} | {workers} | {connections} |"

    assert row in (_KUBERNETES / "README.md").read_text(encoding="utf-8")


def test_the_overlay_of_the_readme_sets_what_it_says(copied: Path) -> None:
    mine = copied / "overlays" / "mine"
    mine.mkdir()
    readme = (_KUBERNETES / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (mine / "kustomization.yaml").write_text(block, encoding="utf-8")

    found = problems(mine)

    assert found == []
    rendered = render(mine)
    pods = {made.name: pod for made, pod in rendered.pods}
    assert {made.content["metadata"]["namespace"] for made in rendered.objects} == {"exams"}
    assert pods["quota-api"].container["image"] == "registry.example.org/quota-service:0.1.0"
    assert not pods["quota-worker"].settings(rendered.config).postgres_statement_cache
    assert _lets_in(rendered, pods["quota-api"].labels, "admin", "observability")
    assert _lets_in(rendered, pods["quota-api"].labels, "api", "gateway")
    assert rendered.of("CronJob")["quota-scale-up"].spec["schedule"] == "0 11 20 9 *"


def test_an_overlay_is_checked_from_the_command_line(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, wrong = copied / "overlays" / "small", copied / "overlays" / "none"

    statuses = [main([str(small)]), main([str(small), str(wrong)])]

    assert statuses == [0, 1]
    told = capsys.readouterr().out
    assert told.startswith("nothing is wrong\n")
    assert str(wrong) in told
