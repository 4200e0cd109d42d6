"""The Prometheus and the Alertmanager of the system, with the files of `deploy/prometheus/`.

They follow a copy of the files with shorter intervals; of the rules nothing else is changed.
"""

import asyncio
import json
import os
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import yaml

from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from tests.support.alerting import FOLDER, read_yaml
from tests.support.patience import START_LIMIT_S
from tests.support.programs import need_program
from tests.support.waiting import eventually

SCRAPE_INTERVAL = "2s"
EVALUATION_INTERVAL = "500ms"
FOR = "1s"


def shortened(folder: Path, targets: Mapping[str, Sequence[str]], alertmanager: str) -> Path:
    """Copy the files with short intervals; `targets` are host and port by the name of the job.

    Jobs that are not named have no targets. Returns the folder of the copy.
    """
    copy = folder / "prometheus"
    shutil.copytree(FOLDER, copy)
    configuration = read_yaml(copy / "prometheus.yml")
    configuration["global"].update(
        scrape_interval=SCRAPE_INTERVAL,
        scrape_timeout=SCRAPE_INTERVAL,
        evaluation_interval=EVALUATION_INTERVAL,
    )
    (managers,) = configuration["alerting"]["alertmanagers"]
    managers["static_configs"][0]["targets"] = [alertmanager]
    for job in configuration["scrape_configs"]:
        name = job["job_name"]
        job.pop("scrape_interval", None)
        job.pop("scrape_timeout", None)
        file = copy / job["file_sd_configs"][0]["files"][0]
        file.write_text(json.dumps([{"targets": list(targets.get(name, ()))}]))
    (copy / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    rules = read_yaml(copy / "rules/alerts.yml")
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["for"] = FOR
    (copy / "rules/alerts.yml").write_text(yaml.safe_dump(rules))
    return copy


def shortened_alertmanager(copy: Path, webhook: str) -> None:
    """Shorten the waits of the Alertmanager's copy, and send everything to one address."""
    path = copy / "alertmanager.yml"
    configuration = read_yaml(path)
    configuration["route"].update(group_wait="100ms", group_interval="500ms")
    for receiver in configuration["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = f"{webhook}/{receiver['name']}"
    path.write_text(yaml.safe_dump(configuration))


@asynccontextmanager
async def prometheus(copy: Path, port: int) -> AsyncIterator[str]:
    """Run Prometheus with a copy of the files; yield its URL."""
    address = f"{LOOPBACK}:{port}"
    arguments = (
        f"--config.file={copy / 'prometheus.yml'}",
        f"--storage.tsdb.path={copy / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    async with _running("prometheus", arguments, copy / "prometheus.log", address) as url:
        yield url


@asynccontextmanager
async def alertmanager(copy: Path, port: int) -> AsyncIterator[str]:
    """Run Alertmanager with a copy of the files; yield its URL."""
    address = f"{LOOPBACK}:{port}"
    arguments = (
        f"--config.file={copy / 'alertmanager.yml'}",
        f"--storage.path={copy / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    log = copy / "alertmanager.log"
    async with _running("prometheus-alertmanager", arguments, log, address) as url:
        yield url


@asynccontextmanager
async def exporter(
    folder: Path, name: str, port: int, *arguments: str, **environment: str
) -> AsyncIterator[str]:
    """Run Debian's exporter of this name; yield its address."""
    address, program = f"{LOOPBACK}:{port}", f"prometheus-{name}-exporter"
    told = (f"--web.listen-address={address}", *arguments)
    log = folder / f"{program}.log"
    async with _running(program, told, log, address, ready="/metrics", environment=environment):
        yield address


async def ask(url: str, query: str) -> list[dict[str, Any]]:
    """Return the samples that a query finds now."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/query", params={"query": query}) as response,
    ):
        answer = await response.json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


async def active(url: str, **asked: str) -> list[dict[str, str]]:
    """Return the labels of the alerts that an Alertmanager has, of all states unless `asked`."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v2/alerts", params=asked) as response,
    ):
        return [alert["labels"] for alert in await response.json()]


def free_ports(count: int) -> list[int]:
    first = free_loopback_port(count)
    return list(range(first, first + count))


@asynccontextmanager
async def _running(
    program: str,
    arguments: Sequence[str],
    log: Path,
    address: str,
    *,
    ready: str = "/-/ready",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[str]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            need_program(program),
            *arguments,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    url = f"http://{address}"
    try:
        await eventually(lambda: _is_ready(process, f"{url}{ready}", log), within_s=START_LIMIT_S)
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_ready(process: Process, url: str, log: Path) -> bool:
    assert process.returncode is None, await asyncio.to_thread(log.read_text)
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
