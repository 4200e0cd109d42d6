"""Processes forked from one that has loaded the service, so that each need not load it again.

To load the service takes a process longer than what most tests then do with it. The process they
are forked from is a server of `multiprocessing`, one for each process of the tests; it is started
with the first, and ends with the tests. A forked process has everything of its own, and dies, is
killed and stopped as any other.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import sys
from asyncio import StreamReader
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.support.service_cli", "tests.faults.dying_api"])

Main = Callable[[Sequence[str]], int]
"""What a process runs: takes arguments, returns the exit status; a function of a module."""

STDOUT, STDERR = 1, 2


class Forked:
    """A process with the members of `asyncio.subprocess.Process` that tests use."""

    def __init__(
        self,
        process: multiprocessing.context.ForkServerProcess,
        stdout: StreamReader | None,
        stderr: StreamReader | None,
    ) -> None:
        self._process = process
        self.pid = process.pid or 0
        self.stdout, self.stderr = stdout, stderr
        self._ended = asyncio.create_task(self._end())

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Wait for its end and return how it ended."""
        return await asyncio.shield(self._ended)

    async def _end(self) -> int:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        assert self._process.exitcode is not None
        return self._process.exitcode


async def fork(
    main: Main,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    pipes: Sequence[int] = (),
) -> Forked:
    """Run `main` in a process of its own; `pipes` are STDOUT and STDERR where they are read.

    What is not read goes to nowhere. It may have as many files open as this process may now, not as
    the server could when it was started.
    """
    ends = {number: multiprocessing.Pipe(duplex=False) for number in pipes}
    written = {number: writing for number, (_, writing) in ends.items()}
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = {"environ": dict(env), "folder": str(cwd), "written": written, "files": files}
    process = _SERVER.Process(target=_run, args=(main, arguments), kwargs=kept)
    # The server is started with the first, which takes as long as to load the service.
    await asyncio.to_thread(process.start)
    for writing in written.values():
        writing.close()
    readers = {number: await _reader(reading) for number, (reading, _) in ends.items()}
    return Forked(process, readers.get(STDOUT), readers.get(STDERR))


async def _reader(connection: Connection) -> StreamReader:
    reader = StreamReader()
    file = os.fdopen(os.dup(connection.fileno()), "rb", buffering=0)
    connection.close()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    return reader


def _run(
    main: Main,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: str,
    written: Mapping[int, Connection],
    files: tuple[int, int],
) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (STDOUT, STDERR):
        os.dup2(written[number].fileno() if number in written else nowhere, number)
    os.close(nowhere)
    for connection in written.values():
        connection.close()
    sys.exit(main(arguments))
