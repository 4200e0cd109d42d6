"""The alerts on machines, on what real exporters tell of a disk, a certificate and a Redis."""

import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio
from aiohttp import web

from quota_service.embedded import EmbeddedRedis
from quota_service.embedded.ports import LOOPBACK
from tests.support.alerting import alerts
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.programs import need_program
from tests.support.prometheus import ask, exporter, free_ports, prometheus, shortened
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

ENDS_SOON_DAYS = 5
MAXMEMORY_BYTES = 500_000
"""Less than an empty Redis uses."""
BLACKBOX = "/etc/prometheus/blackbox.yml"
"""The configuration that Debian ships; its module `http_2xx` is that of the project."""


def certificate_that_ends_soon(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback, its own authority; return its file and that of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    arguments = [
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=quota", "-addext", f"subjectAltName=IP:{LOOPBACK}"),
        *("-days", str(ENDS_SOON_DAYS), "-keyout", str(key), "-out", str(certificate)),
    ]
    command = [need_program("openssl"), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    return certificate, key


@asynccontextmanager
async def tls_listener(certificate: Path, key: Path, port: int) -> AsyncIterator[None]:
    """Answer every request with 200 over TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()


async def firing(url: str) -> set[tuple[str, str]]:
    """Return name and instance of the alerts that fire."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/alerts") as response:
        found = (await response.json())["data"]["alerts"]
    return {
        (alert["labels"]["alertname"], alert["labels"].get("instance", ""))
        for alert in found
        if alert["state"] == "firing"
    }


async def test_alerts_on_machines_fire_on_what_their_exporters_tell(tmp_path: Path) -> None:
    node, blackbox, of_redis, listening, watching = free_ports(5)
    site = f"https://{LOOPBACK}:{listening}/livez"
    certificate, key = certificate_that_ends_soon(tmp_path)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tls_listener(certificate, key, listening))
        store = stack.enter_context(EmbeddedRedis(tmp_path / "redis"))
        async with redis.asyncio.Redis.from_url(store.url) as client:
            await client.config_set("maxmemory", MAXMEMORY_BYTES)
        # Where everything is a container's, there is no other file system than those left out.
        everything = "--collector.filesystem.fs-types-exclude=^$"
        for told in (
            exporter(tmp_path, "node", node, everything),
            exporter(tmp_path, "redis", of_redis, f"--redis.addr={store.url}"),
            exporter(
                tmp_path,
                "blackbox",
                blackbox,
                f"--config.file={BLACKBOX}",
                SSL_CERT_FILE=str(certificate),
            ),
        ):
            await stack.enter_async_context(told)
        targets = {
            "node": [f"{LOOPBACK}:{node}"],
            "redis": [f"{LOOPBACK}:{of_redis}"],
            "certificate": [site],
        }
        copy = shortened(tmp_path, targets, alertmanager=f"{LOOPBACK}:9")
        configuration = copy / "prometheus.yml"
        text = configuration.read_text()
        assert "127.0.0.1:9115" in text
        configuration.write_text(text.replace("127.0.0.1:9115", f"{LOOPBACK}:{blackbox}"))
        url = await stack.enter_async_context(prometheus(copy, watching))

        async def fire() -> bool:
            wanted = {
                ("QuotaCertificateEnds", site),
                ("QuotaRedisMemory", f"{LOOPBACK}:{of_redis}"),
            }
            return wanted <= await firing(url)

        async def are_told() -> bool:
            return all([await ask(url, name) for name in names_of_exporters()])

        await eventually(fire, within_s=START_LIMIT_S)
        await eventually(are_told)
        readable = await ask(url, 'probe_success{job="certificate"}')
        disks = await ask(url, 'node_filesystem_avail_bytes{job="node",mountpoint!="",fstype!=""}')
        sizes = await ask(url, 'node_filesystem_size_bytes{job="node",mountpoint!="",fstype!=""}')

    assert [sample["value"][1] for sample in readable] == ["1"]
    assert {sample["metric"]["mountpoint"] for sample in disks} >= {"/"}
    assert len(disks) == len(sizes)


def names_of_exporters() -> list[str]:
    """Return the metrics of exporters that alerts ask for."""
    text = " ".join(rule["expr"] for rule in alerts().values())
    return sorted(set(re.findall(r"\b(?:node|probe|redis)_[a-z_]+", text)))
