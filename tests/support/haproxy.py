"""The HAProxy of the system, with the configuration of `deploy/haproxy/`, as tests look at it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.proxy import Proxy, proxied
from tests.support.programs import need_program
from tests.support.waiting import eventually

_NAMES = ("one", "two", "three", "four")
"""How the configuration names its servers."""


class HAProxy:
    """A HAProxy that runs."""

    def __init__(self, running: Proxy) -> None:
        self.https = running.https
        self.http = running.http
        self.certificate = running.certificate
        self._metrics = running.metrics

    def tls(self) -> ssl.SSLContext:
        """Return what a client needs to trust it."""
        return ssl.create_default_context(cafile=str(self.certificate))

    async def until_up(self, number: int, *, up: bool = True, backend: str = "api") -> None:
        """Wait until the checks have found a server, counted from 0, up or down."""
        wanted = {"proxy": backend, "server": _NAMES[number], "state": "UP" if up else "DOWN"}

        async def found() -> bool:
            async with aiohttp.ClientSession() as session, session.get(self._metrics) as response:
                text = await response.text()
            return any(
                sample.name == "haproxy_server_status" and sample.labels == wanted and sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )

        await eventually(found, within_s=30)


@asynccontextmanager
async def haproxy(folder: Path, *servers: str, **limits: object) -> AsyncIterator[HAProxy]:
    """Run HAProxy before servers of these URLs; `limits` are its variables, as `KEY_RATE=5`."""
    need_program("openssl")
    need_program("haproxy")
    async with proxied(folder, servers, **limits) as running:
        yield HAProxy(running)
