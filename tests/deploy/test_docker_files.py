"""The files of `deploy/docker/` as their own linters see them, and as the repository has them."""

import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quota_service import __version__
from quota_service.app.shutdown import shutdown_max_s
from quota_service.settings import read_settings
from tests.support.compose import (
    COMPOSE,
    DEMO,
    DOCKER,
    example_values,
    put_in,
    read_compose,
)
from tests.support.image import DOCKERFILE, ROOT, sent_to_builder

SECRETS = {"redis_url", "postgres_dsn", "payment_secrets", "candidate_token_secrets"}


@pytest.fixture
def site() -> dict[str, Any]:
    return read_compose(COMPOSE)


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program that was installed with the tests."""
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run("hadolint", DOCKERFILE)

    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_names_file_line_and_value_of_a_base_without_a_version(tmp_path: Path) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text(
        DOCKERFILE.read_text().replace("python:3.13.9-slim-bookworm", "python:latest")
    )

    done = run("hadolint", broken)

    assert done.returncode == 1
    assert re.search(r"Dockerfile:5 DL3007 .*latest", done.stdout)


def test_the_image_gets_what_the_package_is_built_of_and_nothing_else() -> None:
    tops = {name.partition("/")[0] for name in sent_to_builder()}

    assert tops == {
        "LICENSE",
        "README.md",
        "deploy",
        "hatch_build.py",
        "lua",
        "package-lock.json",
        "package.json",
        "pyproject.toml",
        "quota_service",
    }
    assert [name for name in sent_to_builder() if name.startswith("deploy/")] == [
        "deploy/docker/constraints.txt"
    ]


def test_the_pins_of_the_image_are_all_it_installs_and_keep_to_the_bounds() -> None:
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))

    faults = []
    needed = sorted(needs("quota-service", pins), key=str)
    for requirement in needed:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            faults.append(f"constraints.txt has no {requirement.name}")
        elif not requirement.specifier.contains(pin):
            faults.append(f"constraints.txt has {requirement.name}=={pin}, wanted: {requirement}")

    assert faults == []
    if all(version(name) == pin for name, pin in pins.items()):
        assert set(pins) == {canonicalize_name(requirement.name) for requirement in needed}


def test_a_pin_that_is_none_is_named_with_its_file(tmp_path: Path) -> None:
    broken = tmp_path / "constraints.txt"
    broken.write_text((DOCKER / "constraints.txt").read_text().replace("orjson==", "orjson="))

    done = run("pip", "install", "--no-index", "--dry-run", "--constraint", broken, "orjson")

    assert done.returncode != 0
    assert str(broken) in done.stderr
    assert "orjson=" in done.stderr


def needs(
    name: str, pins: dict[str, str], extras: frozenset[str] = frozenset()
) -> set[Requirement]:
    """What a package needs on the image's Python, and what those need if they are as pinned."""
    python = {"python_version": "3.13", "python_full_version": "3.13.9"}
    found: set[Requirement] = set()
    for requirement in map(Requirement, requires(name) or []):
        chosen = extras or {""}
        marker = requirement.marker
        if marker and not any(marker.evaluate({**python, "extra": extra}) for extra in chosen):
            continue
        found.add(requirement)
        its_name = canonicalize_name(requirement.name)
        if its_name in pins and version(its_name) == pins[its_name]:
            found |= needs(its_name, pins, frozenset(requirement.extras))
    return found


@pytest.mark.parametrize("file", [COMPOSE, DEMO], ids=lambda file: file.name)
def test_a_compose_file_fits_the_schema(file: Path) -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", [COMPOSE, DEMO], ids=lambda file: file.name)
def test_the_schema_names_file_and_value_of_a_member_that_is_unknown(
    file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / file.name
    broken.write_text(file.read_text().replace("healthcheck:", "healtcheck:"))

    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", broken)

    assert done.returncode == 1
    assert f"{broken}" in done.stdout
    assert "'healtcheck' was unexpected" in done.stdout


@pytest.mark.parametrize("name", example_values())
def test_a_value_that_is_missing_is_named_with_its_file(name: str) -> None:
    values = example_values()
    del values[name]
    lines = [line for line in COMPOSE.read_text().splitlines() if f"${{{name}:" in line]

    with pytest.raises(ValueError, match=f"{name} is missing .*: set {name} in deploy/docker/.env"):
        put_in(lines, values)


def test_a_site_sets_six_values_and_the_file_uses_no_others() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))

    assert set(example_values()) == used
    assert len(used) == 6
    assert example_values()["IMAGE"] == f"quota-service:{__version__}"


@pytest.mark.parametrize("file", [COMPOSE, DEMO], ids=lambda file: file.name)
def test_every_file_that_is_mounted_or_built_from_is_in_the_repository(
    file: Path,
) -> None:
    document = read_compose(file)
    mounts = [
        mount.split(":")[0] if isinstance(mount, str) else mount["source"]
        for service in document["services"].values()
        for mount in service.get("volumes", [])
    ]
    builds = [service["build"] for service in document["services"].values() if "build" in service]

    missing = [m for m in mounts if m.startswith(".") and not (file.parent / m).exists()]

    assert missing == []
    for build in builds:
        assert (file.parent / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]) == DOCKERFILE


def test_every_image_of_another_has_a_version(site: dict[str, Any]) -> None:
    demo = read_compose(DEMO)
    services = [*site["services"].values(), *demo["services"].values()]

    images = {service["image"] for service in services if "quota-service" not in service["image"]}

    assert len(images) >= 3
    for image in images:
        assert re.fullmatch(r"docker\.io/[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image


def test_the_start_waits_for_health_and_for_the_migration(site: dict[str, Any]) -> None:
    services = site["services"]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}

    done = {"condition": "service_completed_successfully"}
    healthy = {"condition": "service_healthy"}
    for name in ("api-1", "api-2", "worker-1", "worker-2"):
        assert waits[name] == {"migrate": done, "redis": healthy}, name
    assert waits["migrate"] == {"postgres": healthy}
    assert waits["proxy"] == {"api-1": healthy, "api-2": healthy}
    for name in {gate for gates in waits.values() for gate in gates} - {"migrate"}:
        has_one_of_its_own = "healthcheck" in services[name]
        assert has_one_of_its_own or services[name]["image"] == example_values()["IMAGE"], name


def test_secrets_come_as_files_and_no_password_is_in_the_file(site: dict[str, Any]) -> None:
    folder = example_values()["SECRETS_DIR"]

    assert {secret["file"] for secret in site["secrets"].values()} == {
        f"{folder}/{name}" for name in site["secrets"]
    }
    for name, service in site["services"].items():
        for variable, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|SECRET|DSN|REDIS_URL", variable)
            assert not is_secret or value.startswith("/run/secrets/"), f"{name}: {variable}"


def test_every_setting_of_the_service_is_one_and_takes_its_value(
    site: dict[str, Any], tmp_path: Path
) -> None:
    ours = {n: s for n, s in site["services"].items() if s["image"] == example_values()["IMAGE"]}
    for name in SECRETS:
        (tmp_path / name).write_text("whsec_AAAA")

    for service in ours.values():
        told = {
            name: value.replace("/run/secrets", str(tmp_path))
            for name, value in service["environment"].items()
        }
        settings = read_settings(told)
        grace_s = float(service["stop_grace_period"].removesuffix("s"))
        assert shutdown_max_s(settings) < grace_s, "stop_grace_period"
        assert set(service["secrets"]) == SECRETS

    assert set(ours) == {"api-1", "api-2", "worker-1", "worker-2", "migrate", "cli"}


def test_no_container_may_more_than_it_has_to(site: dict[str, Any]) -> None:
    for name, service in site["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert site["networks"]["stores"] == {"internal": True}
    published = {name: s["ports"] for name, s in site["services"].items() if "ports" in s}
    assert published["proxy"] == ["0.0.0.0:443:443"]
    assert not {"redis", "postgres", "api-1", "api-2"} & published.keys()
