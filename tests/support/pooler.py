"""A PgBouncer in transaction mode between a test and its Postgres."""

import asyncio
import contextlib
import os
import pwd
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from quota_service.embedded.ports import free_loopback_port
from tests.support.patience import LIMIT_S
from tests.support.programs import need_program

_CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
"""


@asynccontextmanager
async def pooled(dsn: str) -> AsyncIterator[str]:
    """Lend the DSN of a pooler in front of `dsn` that has two server connections for everyone."""
    program = need_program("pgbouncer")
    server, listen_port = urlsplit(dsn), free_loopback_port()
    with tempfile.TemporaryDirectory() as folder:
        as_user = _configure(Path(folder), server, listen_port)
        process = await asyncio.create_subprocess_exec(
            program, *as_user, "-q", f"{folder}/pgbouncer.ini"
        )
        try:
            await _listening(process, listen_port)
            yield f"postgresql://{server.username}@127.0.0.1:{listen_port}{server.path}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _configure(folder: Path, server: SplitResult, listen_port: int) -> list[str]:
    """Write the pooler's files and return the options that name the user it is to run as."""
    (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        _CONFIG.format(
            host=server.hostname, port=server.port, listen_port=listen_port, folder=folder
        )
    )
    if os.getuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")  # PgBouncer will not run as root
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return ["-u", "nobody"]


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            assert process.returncode is None, "the pooler ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
