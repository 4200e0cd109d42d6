"""Several API processes on one port: `serve --workers N`.

Each process is `quota-service serve` itself, with the settings of its parent and an admin port of
its own, counted on from QUOTA_ADMIN_PORT. All of them listen on the one port with SO_REUSEPORT, and
the kernel deals new connections among those that listen. The parent serves nothing: it holds the
port, replaces a process that ends, and passes SIGTERM and SIGINT on as SIGTERM.

A process that is killed loses its own connections, those it has not accepted yet included; the
others serve on. SIGTERM to one process drains and replaces that one. When the parent dies, in
whatever way, the kernel sends SIGTERM to the processes: they finish what is under way and end. A
process that dies again and again soon after its start will not get better by another start: the
service ends with an error then.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from quota_service.app.opening import open_stores
from quota_service.app.running import refuse_unfit_stores, stopped_by_signals
from quota_service.app.shutdown import shutdown_max_s
from quota_service.domain.errors import QuotaError
from quota_service.embedded.parent_death import die_with_parent
from quota_service.http.acceptor import bind
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings, SettingsError, address_of_setting, variable

log = logging.getLogger(__name__)

PROCESSES_MAX = 64
REUSE_PORT = "--reuse-port"
"""The option of `serve` by which a process shares its port with the others."""

_COMMAND = (sys.executable, "-m", "quota_service.cli", "serve", REUSE_PORT)
_PORT_MAX = 65_535
_BACKOFF_FIRST_S = 0.1


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """When a process that ended is started again."""

    started_after_s: float = 10.0
    """A process that lived this long did not die of its start."""
    early_deaths_max: int = 5
    """Deaths of a process soon after its start, in a row; one more ends the service."""
    pause_max_s: float = 5.0
    """Longest pause before it is started again."""


async def serve_in_processes(settings: Settings, count: int) -> None:
    """Serve the API with `count` processes until SIGTERM or SIGINT.

    Raises SettingsError when a port cannot be had or a store will not do, QuotaError when a process
    cannot be kept alive.
    """
    async with open_stores(settings, Metrics()) as stores:
        await refuse_unfit_stores(stores)  # once, where each process would say the same
    with ExitStack() as held, stopped_by_signals() as stop:
        admin_ports = await _admin_ports(settings, count)
        port = await _hold_port(held, settings)
        log.info(
            "starting API processes",
            extra={
                "api": f"{settings.host}:{port}",
                "admin": [f"{settings.admin_host}:{admin_port}" for admin_port in admin_ports],
            },
        )
        processes = [
            ApiProcess(number, settings, port, admin_port)
            for number, admin_port in enumerate(admin_ports, start=1)
        ]
        await _keep_alive_until(stop, processes, settings)


async def _admin_ports(settings: Settings, count: int) -> list[int]:
    """Return the admin port of each process; SettingsError when one cannot be had.

    With 0 the system chooses each, and the process logs it once it listens.
    """
    first, host = settings.admin_port, settings.admin_host
    if first == 0:
        return [0] * count
    if first + count - 1 > _PORT_MAX:
        raise SettingsError(
            f"{variable('admin_port')} is {first}; it takes a number up to "
            f"{_PORT_MAX - count + 1} with {count} processes, each of which has the next port"
        )
    ports = list(range(first, first + count))
    for port in ports:
        with address_of_setting("admin_", host, port):
            for free in await bind(host, port, unread_max_s=settings.idle_timeout_s):
                free.close()
    return ports


async def _hold_port(held: ExitStack, settings: Settings) -> int:
    """Bind the port without listening, so that it stays ours while a process is replaced.

    Returns its number, which the system has chosen where the setting is 0. SO_REUSEPORT would share
    the port with another service of the same user, so a socket without it looks for one first.
    """
    host, unread_max_s = settings.host, settings.idle_timeout_s
    with address_of_setting("", host, settings.port):
        free = await bind(host, settings.port, unread_max_s=unread_max_s)
        port = int(free[0].getsockname()[1])
        for each in free:
            each.close()
        for each in await bind(host, port, unread_max_s=unread_max_s, reuse_port=True):
            held.callback(each.close)
    return port


class ApiProcess:
    """One of the processes: started, and restarted when it ends, until it is stopped."""

    def __init__(self, number: int, settings: Settings, port: int, admin_port: int) -> None:
        self._number = number
        self._settings = settings
        self._environment = {
            **os.environ,
            variable("port"): str(port),
            variable("admin_port"): str(admin_port),
        }
        self._stopping = asyncio.Event()
        self._process: Process | None = None

    async def keep_alive(self) -> None:
        """Return when it was stopped and has ended; QuotaError when it cannot be kept alive.

        The first start after an end comes at once, each further one after a longer pause.
        """
        early_deaths, limits = 0, self._settings.limits_of(RestartLimits)
        while not self._stopping.is_set():
            started_s = time.monotonic()
            status = await self._live()
            lived_s = time.monotonic() - started_s
            details = {"number": self._number, "status": status, "lived_s": round(lived_s, 3)}
            if self._stopping.is_set():
                if status not in {0, -signal.SIGTERM}:
                    log.error("API process did not shut down cleanly", extra=details)
                return
            early_deaths = early_deaths + 1 if lived_s < limits.started_after_s else 0
            if early_deaths > limits.early_deaths_max:
                raise QuotaError(
                    f"API process {self._number} ended {early_deaths} times in a row soon after "
                    f"its start, last with status {status}"
                )
            pause_s = 0.0
            if early_deaths > 1:
                pause_s = _BACKOFF_FIRST_S * 2.0 ** (early_deaths - 1)
                pause_s = min(pause_s, limits.pause_max_s)
            log.warning("API process ended and is replaced", extra={**details, "pause_s": pause_s})
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    def stop(self) -> None:
        """Have it finish what is under way and end."""
        self._stopping.set()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    async def _live(self) -> int:
        """Start it and see it through to its end; return its status, negative for a signal."""
        try:
            # In a session of its own Ctrl-C in a terminal reaches the parent alone.
            self._process = process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                env=self._environment,
                stdin=DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        except OSError:  # no process or no memory is to be had now
            log.exception("API process not started", extra={"number": self._number})
            return 1
        log.info("API process started", extra={"number": self._number, "started": process.pid})
        if self._stopping.is_set():
            self._send(signal.SIGTERM)
        return await process.wait()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _keep_alive_until(
    stop: asyncio.Event, processes: Sequence[ApiProcess], settings: Settings
) -> None:
    """Keep the processes alive until `stop` is set or one cannot be kept; then end all in order."""
    kept = [asyncio.create_task(process.keep_alive()) for process in processes]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *kept], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for process in processes:
        process.stop()
    _, late = await asyncio.wait(kept, timeout=shutdown_max_s(settings))
    if late:
        log.error("API processes were still running at shutdown", extra={"count": len(late)})
    for process in processes:
        process.kill()
    await asyncio.gather(*kept)
