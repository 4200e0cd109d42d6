"""The CronJobs that scale do it with the rights they have: the real kubectl asks an API server.

The API server is the test's own: it knows two Deployments and refuses what the Role does not name.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.kubernetes import KUBECTL, Rendered, render
from tests.support.patience import START_LIMIT_S

_SMALL = Path(__file__).parents[2] / "deploy" / "kubernetes" / "overlays" / "small"
_APPS = {"name": "apps", "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}
_RESOURCES = [
    {"name": "deployments", "kind": "Deployment", "verbs": ["get", "patch"]},
    {"name": "deployments/scale", "kind": "Scale", "verbs": ["get", "patch"]},
]
_VERBS = {"GET": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render(_SMALL)


class Cluster:
    """An API server that has Deployments, and lets an account do what a Role's rules say."""

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self.replicas = {"quota-api": 2, "quota-worker": 2}
        self._rules = rules

    async def answer(self, request: web.Request) -> web.Response:
        match request.path.strip("/").split("/"):
            case ["api"]:
                return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
            case ["apis"]:
                groups = [{**_APPS, "versions": [_APPS["preferredVersion"]]}]
                return web.json_response({"kind": "APIGroupList", "groups": groups})
            case ["api", "v1"]:
                return web.json_response({"kind": "APIResourceList", "resources": []})
            case ["apis", "apps", "v1"]:
                resources = [{**each, "namespaced": True} for each in _RESOURCES]
                listed = {"kind": "APIResourceList", "groupVersion": "apps/v1"}
                return web.json_response({**listed, "resources": resources})
            case ["apis", "apps", "v1", "namespaces", "quota", "deployments", name, *rest]:
                return await self._answer_of_deployment(request, name, "/".join(rest))
        return web.json_response(_status(404, "NotFound", request.path), status=404)

    async def _answer_of_deployment(
        self, request: web.Request, name: str, part: str
    ) -> web.Response:
        resource = f"deployments/{part}" if part else "deployments"
        if not any(
            resource in rule["resources"]
            and name in rule["resourceNames"]
            and _VERBS[request.method] in rule["verbs"]
            for rule in self._rules
        ):
            told = f"{request.method} {resource} {name}"
            return web.json_response(_status(403, "Forbidden", told), status=403)
        if request.method == "PATCH":
            self.replicas[name] = (await request.json())["spec"]["replicas"]
        kind, group = ("Scale", "autoscaling/v1") if part else ("Deployment", "apps/v1")
        return web.json_response(
            {
                "kind": kind,
                "apiVersion": group,
                "metadata": {"name": name, "namespace": "quota"},
                "spec": {"replicas": self.replicas[name]},
            }
        )


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


@asynccontextmanager
async def listening(cluster: Cluster) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cluster.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


async def run_job(rendered: Rendered, name: str, address: str) -> tuple[int, str]:
    """Run the command of a CronJob as its pod does: nothing can be written, and home is nowhere."""
    pod = rendered.of("CronJob")[name].pod
    assert pod is not None
    told = pod.environment(rendered.config)
    args = [re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], arg) for arg in pod.args]
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        f"--server={address}",
        "--namespace=quota",
        *args,
        env={**told, "HOME": "/proc/nowhere"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(START_LIMIT_S):
        printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def rules_of(rendered: Rendered) -> list[Mapping[str, Any]]:
    return list(rendered.of("Role")["quota-scale"].content["rules"])


async def test_the_api_is_scaled_up_and_back(rendered: Rendered) -> None:
    cluster = Cluster(rules_of(rendered))

    async with listening(cluster) as address:
        up = await run_job(rendered, "quota-scale-up", address)
        at_opening = dict(cluster.replicas)
        down = await run_job(rendered, "quota-scale-down", address)

    assert (up[0], down[0]) == (0, 0), (up, down)
    assert at_opening == {"quota-api": 4, "quota-worker": 2}
    assert cluster.replicas == {"quota-api": 2, "quota-worker": 2}


@pytest.mark.parametrize("left_out", ["deployments", "deployments/scale"])
async def test_each_right_is_needed(rendered: Rendered, left_out: str) -> None:
    cluster = Cluster([rule for rule in rules_of(rendered) if left_out not in rule["resources"]])

    async with listening(cluster) as address:
        status, printed = await run_job(rendered, "quota-scale-up", address)

    assert status == 1
    assert "Forbidden" in printed
    assert cluster.replicas["quota-api"] == 2
