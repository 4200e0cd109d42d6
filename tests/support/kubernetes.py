"""Checks an overlay of `deploy/kubernetes/` against Kubernetes, and against the service it runs.

`python -m tests.support.kubernetes FOLDER` prints what is wrong with an overlay, one line each with
file and value, and ends with status 1. The overlay is rendered by the real `kubectl kustomize`; the
objects are held to the schemas of three versions of Kubernetes, then to what those cannot know:
names that refer to each other, settings, command lines, ports, shutdown, and who reaches what.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate
import pydantic
import yaml

from tests.support.kubernetes_pods import Pod
from tests.support.kubernetes_scaling import scaling_problems

VERSIONS = ("1.35", "1.36", "1.37")
"""The versions of Kubernetes that every object is held to."""

_ORIGIN = "config.kubernetes.io/origin"
_RENDER_TIMEOUT_S = 120
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
KUBECTL = Path(sys.executable).with_name("kubectl")


class NotRendered(Exception):
    """What `kubectl kustomize` says of files that it cannot render."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object that an overlay renders to, and the files it comes from."""

    content: Mapping[str, Any]
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.files)}: {self.kind} {self.name}"

    @property
    def kind(self) -> str:
        return str(self.content["kind"])

    @property
    def name(self) -> str:
        return str(self.content["metadata"]["name"])

    @property
    def spec(self) -> Mapping[str, Any]:
        return dict(self.content.get("spec", {}))

    @property
    def pod(self) -> Pod | None:
        """The pods that this object makes."""
        match self.kind:
            case "Deployment" | "Job":
                template = self.spec["template"]
            case "CronJob":
                template = self.spec["jobTemplate"]["spec"]["template"]
            case _:
                return None
        return Pod(template["metadata"]["labels"], template["spec"])


@dataclass(frozen=True)
class Rendered:
    """All objects of an overlay."""

    objects: Sequence[Object]

    def of(self, kind: str) -> Mapping[str, Object]:
        return {found.name: found for found in self.objects if found.kind == kind}

    @functools.cached_property
    def pods(self) -> Sequence[tuple[Object, Pod]]:
        return [(found, pod) for found in self.objects if (pod := found.pod) is not None]

    @functools.cached_property
    def config(self) -> Mapping[str, Mapping[str, str]]:
        """The data of each ConfigMap."""
        return {name: found.content["data"] for name, found in self.of("ConfigMap").items()}


def render(folder: Path) -> Rendered:
    """Return what an overlay renders to.

    Raises NotRendered when kustomize refuses a file, with its own words, which name the file.
    """
    done = subprocess.run(
        [KUBECTL, "kustomize", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=_RENDER_TIMEOUT_S,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    if done.returncode:
        raise NotRendered(done.stderr.strip())
    objects = [content for content in yaml.load_all(done.stdout, _LOADER) if content]
    return Rendered([Object(content, _files(folder, content)) for content in objects])


def _files(folder: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the file an object comes from, and the overlay, which may have changed it."""
    overlay = folder / "kustomization.yaml"
    told = content["metadata"].get("annotations", {}).get(_ORIGIN)
    if told is None:
        return (str(overlay),)
    origin = yaml.safe_load(told)
    file = _below(folder, origin.get("path") or origin["configuredIn"])
    if content["kind"] == "ConfigMap":
        for made in yaml.safe_load(file.read_text(encoding="utf-8"))["configMapGenerator"]:
            if content["metadata"]["name"].startswith(made["name"]) and made.get("envs"):
                file = file.with_name(made["envs"][0])
    return tuple(dict.fromkeys((str(file), str(overlay))))


def _below(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))


def problems(folder: Path) -> list[str]:
    """Return what is wrong with an overlay, each with its file and value."""
    try:
        rendered = render(folder)
    except NotRendered as refusal:
        return [f"{folder}: {refusal}"]
    # What is made of an object that Kubernetes refuses is of no use to whoever mends it.
    if found := list(dict.fromkeys(_unlike_schemas(rendered))):
        return found
    return [
        f"{at}: {text}"
        for check in (_refers, _has_rights, _runs, _scales, _is_kept_inside)
        for at, text in check(rendered)
    ]


_Found = Iterator[tuple[Object, str]]


def _unlike_schemas(rendered: Rendered) -> Iterator[str]:
    for found in rendered.objects:
        model = _OPERATOR.get(found.kind)
        if model is not None:
            texts = _unlike_model(found.spec, model)
        else:
            content = json.dumps(found.content)
            texts = (text for version in VERSIONS if (text := _unlike_schema(content, version)))
        for text in texts:
            yield f"{found}: {text}"


@functools.cache
def _unlike_schema(content: str, version: str) -> str:
    """Return what a version of Kubernetes refuses of an object, nothing when it takes it.

    Reading the schemas takes some tenths of a second.
    """
    told = json.loads(content)
    try:
        kubernetes_validate.validate(told, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.json_path.removeprefix('$.')}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes {version} has no {told['apiVersion']}"
    return ""


def _unlike_model(spec: Mapping[str, Any], model: "type[_Strict]") -> Iterator[str]:
    try:
        model.model_validate(spec)
    except pydantic.ValidationError as error:
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            yield f"spec.{place}: {fault['msg']}: {fault['input']!r}"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _Requirement(_Strict):
    key: str
    operator: Literal["In"]
    values: list[str]


class _Selector(_Strict):
    matchExpressions: list[_Requirement]  # noqa: N815  a name of Kubernetes


class _Endpoint(_Strict):
    port: str
    path: Literal["/metrics"]
    interval: str = pydantic.Field(pattern=r"^\d+(ms|s|m)$")
    scrapeTimeout: str = pydantic.Field(pattern=r"^\d+(ms|s|m)$")  # noqa: N815


class _PodMonitor(_Strict):
    """What is used of a PodMonitor of the Prometheus Operator."""

    jobLabel: str  # noqa: N815
    selector: _Selector
    podMetricsEndpoints: list[_Endpoint] = pydantic.Field(min_length=1)  # noqa: N815


class _Rule(_Strict):
    record: str | None = None
    alert: str | None = None
    expr: str
    for_: str | None = pydantic.Field(None, alias="for")
    keep_firing_for: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Group(_Strict):
    name: str
    interval: str | None = None
    rules: list[_Rule] = pydantic.Field(min_length=1)


class _PrometheusRule(_Strict):
    groups: list[_Group] = pydantic.Field(min_length=1)


_OPERATOR: Mapping[str, type[_Strict]] = {
    "PodMonitor": _PodMonitor,
    "PrometheusRule": _PrometheusRule,
}
"""Kinds of the Prometheus Operator: kubernetes-validate has no schemas of those."""


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(
        labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()
    ) and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )


def _refers(rendered: Rendered) -> _Found:
    """Selectors choose pods that have the ports which are named."""
    for found in rendered.objects:
        chosen = _CHOOSERS.get(found.kind)
        if chosen is None:
            continue
        selector, ports = chosen(found.spec)
        pods = [pod for _, pod in rendered.pods if _selects(selector, pod.labels)]
        if not pods:
            yield found, f"no pod has the labels {selector}"
        for port in ports:
            if pods and not any(port in pod.ports for pod in pods):
                yield found, f"no pod it selects has a port {port!r}"


_CHOOSERS: Mapping[str, Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[object]]]] = {
    "Service": lambda spec: (
        {"matchLabels": spec["selector"]},
        [port["targetPort"] for port in spec["ports"]],
    ),
    "PodDisruptionBudget": lambda spec: (spec["selector"], []),
    "NetworkPolicy": lambda spec: (
        spec["podSelector"],
        [port["port"] for rule in spec["ingress"] for port in rule.get("ports", ())],
    ),
    "PodMonitor": lambda spec: (
        spec["selector"],
        [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]],
    ),
}
"""The selector of pods, and the names of their ports, in the kinds that have them."""


def _has_rights(rendered: Rendered) -> _Found:
    """Roles and accounts that are named are there; secrets are not."""
    accounts, roles = rendered.of("ServiceAccount"), rendered.of("Role")
    for found in rendered.of("RoleBinding").values():
        role = found.content["roleRef"]["name"]
        if role not in roles:
            yield found, f"there is no Role {role!r}"
        for subject in found.content["subjects"]:
            if subject["name"] not in accounts:
                yield found, f"there is no ServiceAccount {subject['name']!r}"
    for found, pod in rendered.pods:
        account = pod.spec.get("serviceAccountName")
        if account is not None and account not in accounts:
            yield found, f"there is no ServiceAccount {account!r}"
    for found in rendered.of("Secret").values():
        yield found, "secrets are made by hand, never from a file beside this one"


def _runs(rendered: Rendered) -> _Found:
    """Pods do what the service understands, as nobody in particular."""
    maps = rendered.of("ConfigMap")
    for found, pod in rendered.pods:
        files = [file for name in pod.config_maps if name in maps for file in maps[name].files]
        told = Object(found.content, tuple(dict.fromkeys((*found.files, *files))))
        for text in pod.problems(rendered.config):
            yield told, text


def _scales(rendered: Rendered) -> _Found:
    """CronJobs scale a Deployment that is there, at times that are."""
    deployments = frozenset(rendered.of("Deployment"))
    for found, pod in rendered.pods:
        if found.kind == "CronJob":
            for text in scaling_problems(found.spec, pod, deployments):
                yield found, text


def _is_kept_inside(rendered: Rendered) -> _Found:
    """Every pod has a policy, and a policy lets in namespaces that it names."""
    policies = rendered.of("NetworkPolicy").values()
    for found, pod in rendered.pods:
        if not any(_selects(policy.spec["podSelector"], pod.labels) for policy in policies):
            yield found, f"no NetworkPolicy selects its pods: anybody reaches {list(pod.ports)}"
    for policy in policies:
        if policy.spec.get("policyTypes") != ["Ingress"]:
            yield policy, f"policyTypes is {policy.spec.get('policyTypes')}; it has to be [Ingress]"
        for rule in policy.spec["ingress"]:
            yield from ((policy, text) for text in _too_open(rule))
    for service in rendered.of("Service").values():
        for port in service.spec["ports"]:
            if port["targetPort"] == "admin":
                yield service, f"port {port['port']} leads to the admin port"


def _too_open(rule: Mapping[str, Any]) -> Iterator[str]:
    ports = [port["port"] for port in rule.get("ports", ())]
    if len(ports) != 1:
        yield f"a rule names the ports {ports}; it has to name one"
    for peer in rule.get("from", [{}]):
        if not peer.get("namespaceSelector", {}).get("matchLabels"):
            yield f"anybody reaches {ports}: a rule is from {peer}, which names no namespace"


def main(arguments: Sequence[str]) -> int:
    """Check the overlays that are named; return the exit status."""
    found = [text for folder in arguments for text in problems(Path(folder))]
    print("\n".join(found) or "nothing is wrong")  # noqa: T201  a command-line tool prints
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
