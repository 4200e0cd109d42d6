"""Starts and ends the processes of a bench: the service's, the baselines' and the clients'.

Each is ended when the bench dies, so an interrupted bench leaves nothing running.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest.bench.errors import BenchError
from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK

ROOT = Path(__file__).parents[2]
_START_LIMIT_S = 30
_STOP_LIMIT_S = 20
_POLL_S = 0.05
_LOG_TAIL_CHARS = 2000


async def start_python(
    *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Process:
    """Start `python -m arguments…`, its output in `log`, or on a pipe without one.

    Our own `QUOTA_*` variables are not handed on, only those in `environment`.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")}
    output = asyncio.subprocess.PIPE if log is None else log.open("ab")
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *arguments),
            cwd=ROOT,
            env={**clean, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=None if log is None else output,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    finally:
        if not isinstance(output, int):
            output.close()


async def stop(process: Process) -> None:
    """Ask a process to end and wait for it; one that does not is killed."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def serving(
    *arguments: str, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run a server for a while; it is lent once it listens on its port."""
    process = await start_python(*arguments, environment=environment, log=log)
    try:
        await await_listening(process, port, log)
        yield process
    finally:
        await stop(process)


async def first_line(process: Process) -> bytes:
    """Return the first line a process prints, which says that it has started."""
    if process.stdout is None:
        raise ValueError("the process prints to a log")
    async with asyncio.timeout(_START_LIMIT_S):
        line = await process.stdout.readline()
    if not line:
        raise BenchError("a client of the bench ended before it had started")
    return line


async def printed_by(*arguments: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Run `python -m arguments…` to its end and return what it printed; BenchError if it failed."""
    process = await start_python(*arguments, environment=environment)
    try:
        printed, _ = await process.communicate()
    finally:
        await stop(process)
    if process.returncode != 0:
        raise BenchError(f"{' '.join(arguments)} ended with status {process.returncode}")
    return printed


async def await_listening(process: Process, port: int, log: Path) -> None:
    """Wait until a server takes connections; BenchError with its last words when it does not."""
    try:
        async with asyncio.timeout(_START_LIMIT_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(LOOPBACK, port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    return
    except TimeoutError:
        pass
    raise BenchError(f"a server of the bench did not start:\n{_last_words(log)}")


def _last_words(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:]
