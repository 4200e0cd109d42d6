"""The HAProxy of the system, with the configuration of `deploy/haproxy/`."""

import asyncio
import grp
import os
import pwd
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from tests.support.programs import need_program
from tests.support.waiting import eventually

CONFIGURATION = Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg"
_CERTIFICATE = (
    *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
    *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{LOOPBACK}"),
)
_NAMES = ("one", "two", "three", "four")
"""How the configuration names its servers."""


class HAProxy:
    """A HAProxy that runs; the certificate is its own authority."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        self._ports = {name: free_loopback_port() for name in ("HTTPS", "HTTP", "METRICS")}
        self.https = f"https://{LOOPBACK}:{self._ports['HTTPS']}"
        self.http = f"http://{LOOPBACK}:{self._ports['HTTP']}"
        self._metrics = f"http://{LOOPBACK}:{self._ports['METRICS']}/metrics"
        self._folder = folder

    def environment(self, servers: Sequence[str]) -> dict[str, str]:
        """Return the variables for servers of these URLs."""
        addresses = {name: f"{LOOPBACK}:{port}" for name, port in self._ports.items()}
        apis = {f"API_{n}": url.partition("//")[2] for n, url in enumerate(servers, 1)}
        own = {
            "CERTIFICATE": str(self.certificate),
            "SOCKET": str(self._folder / "socket"),
            "USER": pwd.getpwuid(os.getuid()).pw_name,
            "GROUP": grp.getgrgid(os.getgid()).gr_name,
        }
        return {f"PROXY_{name}": text for name, text in {**addresses, **apis, **own}.items()}

    def tls(self) -> ssl.SSLContext:
        """Return what a client needs to trust it."""
        return ssl.create_default_context(cafile=str(self.certificate))

    async def sample(self, name: str, **labels: str) -> float:
        """Return one of its own metrics, 0 when it has none of these labels."""
        async with aiohttp.ClientSession() as session, session.get(self._metrics) as response:
            text = await response.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    async def until_up(self, number: int, *, up: bool = True) -> None:
        """Wait until the checks have found a server, counted from 0, up or down."""
        state = "UP" if up else "DOWN"

        async def found() -> bool:
            labels = {"proxy": "api", "server": _NAMES[number], "state": state}
            return await self.sample("haproxy_server_status", **labels) == 1

        await eventually(found)


@asynccontextmanager
async def haproxy(folder: Path, *servers: str, **limits: object) -> AsyncIterator[HAProxy]:
    """Run HAProxy before the servers of these URLs; `limits` are its variables, as `KEY_RATE=5`."""
    openssl, program = need_program("openssl"), need_program("haproxy")
    proxy = HAProxy(folder)
    with (folder / "log").open("wb") as log:
        made = await asyncio.create_subprocess_exec(
            openssl,
            *_CERTIFICATE,
            *("-keyout", proxy.certificate, "-out", proxy.certificate),
            stdout=log,
            stderr=log,
        )
        assert await made.wait() == 0, (folder / "log").read_text()
        limited = {f"PROXY_{name}": str(value) for name, value in limits.items()}
        process = await asyncio.create_subprocess_exec(
            program,
            *("-db", "-f", CONFIGURATION),
            env={**os.environ, **proxy.environment(servers), **limited},
            stdout=log,
            stderr=log,
        )

        async def listens() -> bool:
            assert process.returncode is None, (folder / "log").read_text()
            with suppress(aiohttp.ClientError):
                return await proxy.sample("haproxy_process_nbthread") > 0
            return False

        try:
            await eventually(listens)
            yield proxy
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
