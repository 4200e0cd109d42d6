"""A worker's side of the channel: takes connections and orders, and reports how the worker is."""

import asyncio
import logging
import socket
from contextlib import suppress

from quota_service.api.connections import Connections
from quota_service.observability.health import Health
from quota_service.observability.logs import OnceASecond
from quota_service.supervisor.channel import NOTICE, STOP, TAKE, TAKEN, Report

log = logging.getLogger(__name__)

_REPORT_INTERVAL_S = 0.2
_MESSAGES_A_TURN = 64
"""Messages read in one turn of the loop, so that a flood of connections leaves room for others."""


class Intake:
    """Serves the connections that the supervisor hands over, until it says STOP or is gone.

    `stop` is set then.
    """

    def __init__(
        self,
        channel: socket.socket,
        clients: Connections,
        health: Health,
        stop: asyncio.Event,
    ) -> None:
        self._stop = stop
        self._channel = channel
        self._clients = clients
        self._health = health
        self._loop = asyncio.get_running_loop()
        self._wants_to_leave = False
        self._unsent = b""
        self._lost_lines = OnceASecond()
        channel.setblocking(False)
        self._loop.add_reader(channel, self._read)
        self._reporting = asyncio.create_task(self._report_again_and_again())

    def ask_to_leave(self) -> None:
        """Tell the supervisor that somebody asked this worker to end; it answers STOP."""
        self._wants_to_leave = self._health.is_draining = True
        self._report()

    async def close(self) -> None:
        """Take no more; those taken last are at work when this returns."""
        self._loop.remove_reader(self._channel)
        self._reporting.cancel()
        with suppress(asyncio.CancelledError):
            await self._reporting
        await self._clients.begun()

    def _read(self) -> None:
        taken: list[socket.socket] = []
        self._read_some(taken)
        if taken:
            self._say(TAKEN * len(taken))
        for connection in taken:
            self._clients.begin(connection)

    def _read_some(self, taken: list[socket.socket]) -> None:
        for _ in range(_MESSAGES_A_TURN):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                message, descriptors = b"", []
            if message == TAKE and descriptors:
                taken.append(socket.socket(fileno=descriptors[0]))
            elif message == TAKE:
                # The kernel drops what a process at its limit of descriptors is sent.
                if lost := self._lost_lines.count():
                    log.error("no file descriptor is left", extra={"connections_lost": lost})
                self._say(TAKEN)
            elif message == NOTICE:
                self._health.is_draining = True
            else:
                self._end(message)
                return

    def _end(self, message: bytes) -> None:
        if message != STOP:
            log.warning("the supervisor is gone")
        self._loop.remove_reader(self._channel)
        self._stop.set()

    async def _report_again_and_again(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_REPORT_INTERVAL_S)

    def _report(self) -> None:
        """Send a report; while the supervisor does not read, what is new waits for the next one."""
        if self._unsent:
            self._say(b"")
            return
        report = Report(self._health.faults, self._clients.count, self._wants_to_leave)
        self._say(report.line())

    def _say(self, lines: bytes) -> None:
        self._unsent += lines
        # Without a reader the channel is full or broken: of the latter `_read` hears too.
        with suppress(BlockingIOError, ConnectionError):
            self._unsent = self._unsent[self._channel.send(self._unsent) :]
