"""Runs the HAProxy of the system with the configuration of `deploy/haproxy/`, before servers here.

Its certificate is its own authority, and made for the run.
"""

import asyncio
import grp
import os
import pwd
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest.bench.errors import BenchError, MissingError
from quota_service.embedded.ports import LOOPBACK, free_loopback_port

CONFIGURATION = Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg"
_SERVERS = "/usr/sbin"
"""Where Debian puts servers; an ordinary user's PATH lacks it."""
_START_LIMIT_S = 10
_PAUSE_S = 0.05
_CERTIFICATE = (
    *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
    *("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{LOOPBACK}"),
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A HAProxy that runs: its URLs with and without TLS, that of its metrics, its certificate."""

    https: str
    http: str
    metrics: str
    certificate: Path


@asynccontextmanager
async def proxied(folder: Path, servers: Sequence[str], **limits: object) -> AsyncIterator[Proxy]:
    """Run HAProxy before servers of these URLs; `limits` are its variables, as `KEY_RATE=5`.

    Raises MissingError when it or openssl is not installed, and BenchError when it does not start.
    """
    certificate, log = folder / "certificate.pem", folder / "haproxy.log"
    made = await asyncio.create_subprocess_exec(
        *(_find("openssl"), *_CERTIFICATE, "-keyout", certificate, "-out", certificate),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    if await made.wait():
        raise BenchError("openssl makes no certificate")
    https, http, metrics = (f"{LOOPBACK}:{free_loopback_port()}" for _ in range(3))
    told = {
        "HTTPS": https,
        "HTTP": http,
        "METRICS": metrics,
        "CERTIFICATE": certificate,
        **{f"API_{n}": url.partition("//")[2] for n, url in enumerate(servers, 1)},
        "SOCKET": folder / "haproxy.sock",
        "USER": pwd.getpwuid(os.getuid()).pw_name,
        "GROUP": grp.getgrgid(os.getgid()).gr_name,
        **limits,
    }
    environment = {**os.environ, **{f"PROXY_{name}": str(told[name]) for name in told}}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(_find("haproxy"), "-db", "-f", CONFIGURATION), env=environment, stdout=out, stderr=out
        )
    try:
        await _listening(process, f"http://{metrics}/metrics", log)
        yield Proxy(f"https://{https}", f"http://{http}", f"http://{metrics}/metrics", certificate)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _find(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), _SERVERS])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingError(f"{name} is not installed; on Debian: apt-get install {name}")
    return found


async def _listening(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    async with asyncio.timeout(_START_LIMIT_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(url):
                    return
            await asyncio.sleep(_PAUSE_S)
    told = await asyncio.to_thread(log.read_text)
    raise BenchError(f"HAProxy has ended:\n{told}")
