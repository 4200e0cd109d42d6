"""The supervisor's side of one worker: its process, its channel, and the memory it counts in."""

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import orjson

from quota_service.observability.logs import OnceASecond
from quota_service.observability.shared_values import SharedValues, open_memory
from quota_service.settings import Settings
from quota_service.supervisor.channel import STOP, TAKE, LineReader, Report

log = logging.getLogger(__name__)

_MODULE = "quota_service.supervisor.worker"
_IN_FLIGHT_MAX = 256
"""Connections handed to a worker that it has not come to take yet."""
_LAST_READS = 8
"""Enough for all that fits into a channel."""


class WorkerProcess:
    """A worker that was started; it is told apart from its successors by its pid."""

    def __init__(
        self,
        number: int,
        process: Process,
        channel: socket.socket,
        values: SharedValues,
        heard: Callable[[], None],
    ) -> None:
        self.number = number
        self.values = values
        self.started_s = self.heard_s = time.monotonic()
        self.handed = 0
        self._handed_since = 0
        self._in_flight: deque[socket.socket] = deque()
        self._not_handed_lines = OnceASecond()
        self.is_told_to_stop = False
        self._report: Report | None = None
        self._heard = heard
        self._process = process
        self._channel = channel
        self._lines = LineReader(channel)
        asyncio.get_running_loop().add_reader(channel, self._read)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def faults(self) -> dict[str, str]:
        """What stands against its serving, by part; empty when ready."""
        return dict(self._report.faults) if self._report else {"worker": "has not started yet"}

    @property
    def takes_connections(self) -> bool:
        """Whether it listens to its channel at all."""
        return self._report is not None and not self.is_told_to_stop and not self._lines.is_over

    @property
    def connections(self) -> int:
        """Connections it had open when it reported last, and those it was handed since."""
        if self._report is None:
            return 0
        return self._report.connections + self._handed_since

    @property
    def in_flight(self) -> int:
        """Connections it was handed and has not taken yet, which are open here too."""
        return len(self._in_flight)

    def hand(self, connection: socket.socket) -> bool:
        """Hand a connection over; False when the worker cannot take it now.

        It is ours too until the worker has reported it as taken.
        """
        if len(self._in_flight) >= _IN_FLIGHT_MAX:
            return False
        try:
            socket.send_fds(self._channel, [TAKE], [connection.fileno()])
        except OSError as error:
            # A full channel is a worker that is busy; a broken one is about to be replaced.
            if self._not_handed_lines.count():
                log.info("not handed over", extra={"to": self.number, "cause": str(error)})
            return False
        self.handed += 1
        self._handed_since += 1
        self._in_flight.append(connection)
        return True

    def take_back(self) -> list[socket.socket]:
        """Return the connections that a worker which has ended had not taken."""
        untouched = list(self._in_flight)
        self._in_flight.clear()
        return untouched

    def tell(self, message: bytes) -> None:
        """Send NOTICE or STOP; nothing happens when the worker is gone."""
        self.is_told_to_stop |= message == STOP
        try:
            self._channel.send(message)
        except BlockingIOError:
            # It reads nothing any more. The end of the channel tells it to stop as STOP does.
            if message == STOP:
                self._channel.shutdown(socket.SHUT_WR)
        except OSError:
            log.info("gone before it was told", extra={"to": self.number})

    def kill(self) -> None:
        """End it as it stands."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait for its end; return its exit status, negative for a signal."""
        status = await self._process.wait()
        # What it said last, which has all arrived, tells which connections it never touched.
        for _ in range(_LAST_READS):
            self._read()
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        return status

    def _read(self) -> None:
        for report in self._lines.read():
            if report is None:
                self._in_flight.popleft().close()
            else:
                self._note(report)
        if self._lines.is_over:
            asyncio.get_running_loop().remove_reader(self._channel)

    def _note(self, report: Report) -> None:
        self._report = report
        self._handed_since = len(self._in_flight)
        self.heard_s = time.monotonic()
        self._heard()
        if report.wants_to_leave and not self.is_told_to_stop:
            self.tell(STOP)


async def start_worker(number: int, settings: Settings, heard: Callable[[], None]) -> WorkerProcess:
    """Start a worker with the supervisor's own settings; `heard` is called after each report.

    It has a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which
    then ends all of them in order.
    """
    ours, theirs = socket.socketpair()
    memory = open_memory(settings.worker_metrics_max_kib * 1024)
    try:
        ours.setblocking(False)
        values = SharedValues(memory)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            str(number),
            str(theirs.fileno()),
            str(memory),
            stdin=PIPE,
            pass_fds=(theirs.fileno(), memory),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(memory)
    if process.stdin is None:
        raise AssertionError("the process was given a pipe")
    # The supervisor gives notice itself, before the worker is told to stop.
    told = dataclasses.replace(settings, shutdown_notice_s=0.0)
    with suppress(ConnectionError):  # it died at once: `ended` tells
        process.stdin.write(orjson.dumps(told))
        await process.stdin.drain()
    process.stdin.close()
    return WorkerProcess(number, process, ours, values, heard)
