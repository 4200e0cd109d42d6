"""The files of `deploy/docker/` as podman-compose reads them: with the values of a site put in."""

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import podman_compose
import yaml

DOCKER = Path(__file__).parents[2] / "deploy/docker"
COMPOSE = DOCKER / "compose.yaml"
DEMO = DOCKER / "compose.demo.yaml"
EXAMPLE = DOCKER / ".env.example"


def example_values() -> dict[str, str]:
    """Return the values of `.env.example`."""
    lines = EXAMPLE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@cache
def read_compose(file: Path) -> dict[str, Any]:
    """Return a compose file as it is with the values of the example."""
    parts = yaml.safe_load(file.read_text()).items()
    document: dict[str, Any] = put_in(
        {name: part for name, part in parts if not name.startswith("x-")}, example_values()
    )
    return document


def put_in(document: Any, values: Mapping[str, str]) -> Any:
    """Return a part of a compose file with values put in; ValueError when one is missing."""
    return podman_compose.rec_subs(document, values)


def mounted(service: Mapping[str, Any], root: Path) -> Path:
    """Return a folder that stands for `/` of a service: with a copy of each file it mounts."""
    for mount in service["volumes"]:
        source, target = mount.split(":")[:2]
        place = root / target.removeprefix("/")
        if not source.startswith("."):
            place.mkdir(parents=True, exist_ok=True)
        elif (DOCKER / source).is_dir():
            shutil.copytree(DOCKER / source, place, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(DOCKER / source, place)
    return root
