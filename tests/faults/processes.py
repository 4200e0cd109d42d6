"""One process of the service: started, killed, paused and asked to stop from outside."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from tests.support.patience import START_LIMIT_S
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
STOP_LIMIT_S = 20
_LOG_TAIL_CHARS = 2000
_PORT_ATTEMPTS = 5
_PORT_TAKEN = "cannot listen on"
_LISTENS = '"message":"listening"'
"""What it logs when it serves."""


class HarnessError(Exception):
    """The harness itself, not the service under it, could not do its work."""


class ServiceProcess:
    """A `quota-service serve` or `quota-service worker` on ports of its own, kept for its life.

    `root` is the folder with the code that it runs.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        environment: Mapping[str, str],
        logs: Path,
        *,
        root: Path = ROOT,
    ) -> None:
        self.name = name
        self._root = root
        self._choose_ports(kind)
        self._kind = kind
        self._environment = dict(environment)
        self._log = logs / f"{name}.log"
        self._process: Process | None = None
        self._begins_at = 0
        self._has_listened = False

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, *, die_at: str = "", die_after: int = 1, **settings: str) -> None:
        """Start and return when it listens; `die_at` makes it die at a marked line.

        Further variables of its environment hold for this life of it alone. Another may take a port
        before it does: then it is started on others, unless it has listened before.
        """
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                await self._start(die_at, die_after, settings)
            except HarnessError as error:
                is_taken = _PORT_TAKEN in str(error)
                if self._has_listened or not is_taken or attempt == _PORT_ATTEMPTS:
                    raise
                self._choose_ports(self._kind)
            else:
                self._has_listened = True
                return

    def _choose_ports(self, kind: str) -> None:
        self.port = free_loopback_port()
        self.admin_port = free_loopback_port() if kind == "serve" else self.port

    async def _start(self, die_at: str, die_after: int, settings: Mapping[str, str]) -> None:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")},
            **self._environment,
            **settings,
            "QUOTA_PORT": str(self.port),
            "QUOTA_ADMIN_PORT": str(self.admin_port),
            "FAULTS_DIE_AT": die_at,
            "FAULTS_DIE_AFTER": str(die_after),
        }
        is_plain = not die_at and not self._environment.get("FAULTS_BREAK")
        module = "quota_service.cli" if is_plain else "tests.faults.entry"
        with self._log.open("ab") as log:
            self._begins_at = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                self._kind,
                cwd=self._root,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        await eventually(self._listens, within_s=START_LIMIT_S)

    async def kill(self) -> None:
        """Kill it as a crash would, whatever it is doing."""
        self._signal(signal.SIGKILL)
        await self.await_end()

    async def terminate(self) -> None:
        """Ask it to shut down in order, and wait for it."""
        self._signal(signal.SIGTERM)
        await self.await_end()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def await_end(self, within_s: float = STOP_LIMIT_S) -> None:
        """Wait for its end; HarnessError when it lives on."""
        if self._process is not None:
            try:
                async with asyncio.timeout(within_s):
                    await self._process.wait()
            except TimeoutError:
                raise HarnessError(f"{self.name} lives after {within_s} s") from None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _listens(self) -> bool:
        told = await asyncio.to_thread(self._told)
        if not self.is_running:
            raise HarnessError(f"{self.name} did not start:\n{told[-_LOG_TAIL_CHARS:]}")
        return _LISTENS in told

    def _told(self) -> str:
        """Return what it has logged since its start."""
        with self._log.open("rb") as log:
            log.seek(self._begins_at)
            return log.read().decode("utf-8", errors="replace")
