"""PgBouncer with the configuration of `deploy/pgbouncer/` between a test and its Postgres."""

import asyncio
import contextlib
import os
import pwd
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from tests.support.patience import LIMIT_S
from tests.support.programs import need_program
from tests.support.shipped_stores import install


class PoolerEndedError(Exception):
    """The pooler ended and said this."""


@asynccontextmanager
async def pooled(dsn: str, breaks: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Lend the DSN of a pooler in front of `dsn` that has two server connections for everyone.

    Raises PoolerEndedError with what it said when it does not start.
    """
    program = need_program("pgbouncer")
    server, listen_port = urlsplit(dsn), free_loopback_port()
    with tempfile.TemporaryDirectory() as folder:
        as_user = _configure(Path(folder), server, listen_port, breaks or {})
        log = Path(folder) / "pgbouncer.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                program, *as_user, f"{folder}/pgbouncer/pgbouncer.ini", stderr=output
            )
        try:
            await _listening(process, listen_port, log)
            user = f"{server.username}:{server.password}"
            yield f"postgresql://{user}@{LOOPBACK}:{listen_port}{server.path}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _configure(
    folder: Path, server: SplitResult, listen_port: int, breaks: Mapping[str, str]
) -> list[str]:
    """Write the pooler's files and return the options that name the user it is to run as."""
    paths = {
        "quota = host=127.0.0.1 port=5432": (
            f"{server.path[1:]} = host={server.hostname} port={server.port}"
        ),
        "listen_addr = *": f"listen_addr = {LOOPBACK}",
        "listen_port = 6432": f"listen_port = {listen_port}",
        "default_pool_size = 40": "default_pool_size = 2",
        '"quota" "PASSWORD"': f'"{server.username}" "{server.password}"',
    }
    copy = install("pgbouncer", folder, breaks, paths)
    if os.getuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")  # PgBouncer will not run as root
    for path in (folder, copy, *copy.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return ["-u", "nobody"]


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if process.returncode is not None:
                raise PoolerEndedError(log.read_text())  # noqa: ASYNC240 - it is over
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
