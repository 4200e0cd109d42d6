"""What a pod of `deploy/kubernetes/` may be: settings, command, probes, shutdown and rights."""

import contextlib
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from quota_service import cli
from quota_service.app.shutdown import shutdown_max_s
from quota_service.settings import Settings, SettingsError, read_settings, settable, variable

_REPOSITORY = Path(__file__).parents[2]

PROBED = frozenset({"/livez", "/readyz"})
"""What the admin port answers to probes."""


@dataclass(frozen=True, slots=True)
class _Command:
    """What a pod that runs a command of the service needs."""

    secrets: tuple[str, ...]
    """Settings without which it would look for stores in its own pod."""
    ports: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()


_COMMANDS = {
    "serve": _Command(
        ("redis_url", "postgres_dsn", "payment_secrets", "candidate_token_secrets"),
        ("api", "admin"),
        ("startupProbe", "readinessProbe", "livenessProbe"),
    ),
    "worker": _Command(
        ("redis_url", "postgres_dsn"), ("admin",), ("startupProbe", "livenessProbe")
    ),
    "migrate": _Command(("postgres_dsn",)),
}

_SECRETS = frozenset(variable(item.name) for item in settable() if not item.repr)

Config = Mapping[str, Mapping[str, str]]
"""The data of ConfigMaps, by name."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The pods of one Deployment, Job or CronJob, each of one container."""

    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def container(self) -> Mapping[str, Any]:
        return dict(self.spec["containers"][0])

    @property
    def args(self) -> Sequence[str]:
        return list(self.container.get("args", []))

    @property
    def ports(self) -> Mapping[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", ())}

    @property
    def is_ours(self) -> bool:
        """Whether it runs the service, and not kubectl."""
        return str(self.container["name"]) != "scale"

    @property
    def config_maps(self) -> Sequence[str]:
        """The names of the ConfigMaps whose values it is given."""
        sources = [source["configMapRef"]["name"] for source in self.container.get("envFrom", ())]
        given = [each.get("valueFrom") for each in self.container.get("env", ())]
        return sources + [each["configMapKeyRef"]["name"] for each in given if each]

    def environment(self, config: Config) -> dict[str, str]:
        """Return the variables of the container; LookupError names a ConfigMap that is missing."""
        told: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            told |= _data(config, source["configMapRef"]["name"])
        for each in self.container.get("env", ()):
            if "value" in each:
                told[each["name"]] = each["value"]
            else:
                chosen = each["valueFrom"]["configMapKeyRef"]
                data = _data(config, chosen["name"])
                if chosen["key"] not in data:
                    raise LookupError(f"ConfigMap {chosen['name']} has no {chosen['key']!r}")
                told[each["name"]] = data[chosen["key"]]
        return told

    def settings(self, config: Config) -> Settings:
        """Return the settings that the service reads in this pod; SettingsError as in the service.

        A file of a Secret holds the text `here`.
        """
        told = self.environment(config)
        mounts = [mount["mountPath"] for mount in self.container.get("volumeMounts", ())]
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as secret:
            secret.write("here")
            secret.flush()
            for name in {f"{each}_FILE" for each in _SECRETS} & set(told):
                if str(PurePosixPath(told[name]).parent) in mounts:
                    told[name] = secret.name
            return read_settings(told)

    def problems(self, config: Config) -> Iterator[str]:
        """Yield what is wrong, with the value."""
        yield from self._problems_of_rights()
        yield from self._problems_of_image()
        try:
            told = self.environment(config)
        except LookupError as error:
            yield str(error.args[0])
            return
        if not self.is_ours:
            if not re.fullmatch(r"[1-9]\d{0,3}", told.get("REPLICAS", "")):
                yield f"REPLICAS is {told.get('REPLICAS')!r}; it has to be a number of pods"
            return
        for name in sorted(_SECRETS & set(told)):
            yield f"{name} is a secret: give the file of a Secret, {name}_FILE"
        try:
            settings = self.settings(config)
        except SettingsError as error:
            yield str(error)
            return
        try:
            command = self._command()
        except ValueError as error:
            yield f"args {self.args}: {error}"
            return
        for name in command.secrets:
            if getattr(settings, name) == getattr(Settings(), name):
                yield f"{variable(name)}_FILE is missing"
        yield from self._problems_of_ports(settings, command)
        yield from self._problems_of_probes(command)
        if command.ports:
            yield from self._problems_of_shutdown(settings)

    def _problems_of_rights(self) -> Iterator[str]:
        of_pod, of_container = self.spec.get("securityContext", {}), self.container
        wanted = [
            ("enableServiceLinks", self.spec.get("enableServiceLinks"), False),
            ("runAsNonRoot", of_pod.get("runAsNonRoot"), True),
            ("seccompProfile", of_pod.get("seccompProfile"), {"type": "RuntimeDefault"}),
        ]
        security = of_container.get("securityContext", {})
        wanted += [
            ("allowPrivilegeEscalation", security.get("allowPrivilegeEscalation"), False),
            ("readOnlyRootFilesystem", security.get("readOnlyRootFilesystem"), True),
            ("capabilities", security.get("capabilities"), {"drop": ["ALL"]}),
        ]
        if self.is_ours:  # only what scales talks to Kubernetes
            told = self.spec.get("automountServiceAccountToken")
            wanted.append(("automountServiceAccountToken", told, False))
        for name, value, right in wanted:
            if value != right:
                yield f"{name} is {value!r}; it has to be {right!r}"
        if not of_pod.get("runAsUser"):
            yield f"runAsUser is {of_pod.get('runAsUser')!r}; it has to be a user who is not root"
        resources = of_container.get("resources", {})
        for kind, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if name not in resources.get(kind, {}):
                yield f"resources.{kind}.{name} is missing"

    def _problems_of_image(self) -> Iterator[str]:
        image = self.container["image"]
        name, _, tag = image.rpartition("/")[2].partition(":")
        if not tag or tag == "latest" or name == image.partition(":")[0]:
            yield f"image {image!r} has no registry or no tag: set both in `images`"

    def _command(self) -> _Command:
        """Return what its command needs; ValueError when the command line is none of them."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                cli._parser().parse_args(self.args)  # noqa: SLF001
        except SystemExit as error:
            raise ValueError(said.getvalue().strip().splitlines()[-1]) from error
        if self.args[0] not in _COMMANDS:
            raise ValueError(f"a pod runs one of {sorted(_COMMANDS)}")
        return _COMMANDS[self.args[0]]

    def _problems_of_ports(self, settings: Settings, command: _Command) -> Iterator[str]:
        listens = {
            "api": ("", settings.host, settings.port),
            "admin": ("ADMIN_", settings.admin_host, settings.admin_port),
        }
        for name in command.ports:
            prefix, host, port = listens[name]
            if self.ports.get(name) != port:
                told = self.ports.get(name)
                yield f"containerPort {name} is {told}, and QUOTA_{prefix}PORT is {port}"
            if host not in {"0.0.0.0", "::"}:  # noqa: S104  of a pod
                yield f"QUOTA_{prefix}HOST is {host!r}; outside of the pod only 0.0.0.0 is reached"
        for name in self.ports.keys() - set(command.ports):
            yield f"containerPort {name}: `{self.args[0]}` does not listen there"

    def _problems_of_probes(self, command: _Command) -> Iterator[str]:
        for name in command.probes:
            asked = self.container.get(name, {}).get("httpGet")
            if asked is None:
                yield f"{name} is missing"
                continue
            if asked["path"] not in PROBED:
                yield f"{name} asks {asked['path']!r}; the admin port has {sorted(PROBED)}"
            if asked["port"] != "admin":
                yield f"{name} asks port {asked['port']!r}; probes ask 'admin'"

    def _problems_of_shutdown(self, settings: Settings) -> Iterator[str]:
        stop = self.container.get("lifecycle", {}).get("preStop", {})
        stop_s, notice_s = stop.get("sleep", {}).get("seconds", 0), settings.shutdown_notice_s
        if self.args[0] == "serve":
            look_s = proxy_look_s()
            for name, value in (("preStop", stop_s), ("QUOTA_SHUTDOWN_NOTICE_S", notice_s)):
                if value <= look_s:
                    yield f"{name} is {value:g} s; a proxy needs {look_s:g} s to notice"
        needed_s = stop_s + shutdown_max_s(settings)
        grace_s = self.spec.get("terminationGracePeriodSeconds", 30)
        if grace_s <= needed_s:
            yield (
                f"terminationGracePeriodSeconds is {grace_s}; preStop and shutdown may take "
                f"{needed_s:g} s"
            )


def proxy_look_s() -> float:
    """Return how long `deploy/haproxy/` may take to notice that a process goes, in seconds."""
    text = (_REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    line = re.search(r"default-server inter (\d+)s .*fall (\d+)", text)
    assert line is not None, "haproxy.cfg: no `default-server inter …s … fall …`"
    return float(line[1]) * float(line[2])


def _data(config: Config, name: str) -> Mapping[str, str]:
    if name not in config:
        raise LookupError(f"there is no ConfigMap {name!r}")
    return config[name]
