"""The clients' connections of one process: bounded in all, for each address and in time.

A connection costs a file descriptor, and with none left neither the stores nor the admin port can
be reached. So some are kept for those, and connections beyond the rest wait to be accepted. One
address has a share of them and no more: what it opens beyond is closed at once. What takes too long
is ended within a second of its time.
"""

import asyncio
import logging
import resource
import socket
from collections import Counter

from quota_service.http.application import Application
from quota_service.http.protocol import Connection
from quota_service.observability.logs import OnceASecond
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_KEPT_DESCRIPTORS = 128
"""For the admin port, Redis, logs and files, beside those for Postgres."""
_LOOK_EVERY_S = 1.0
"""How often to look for connections that take too long."""
_DRAIN_CHECK_S = 0.02
"""How often to look, while connections end, which are idle by now."""


def connections_max(settings: Settings) -> int:
    """Return how many connections a process with these settings may have, at least one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return settings.connections_max
    spare = limit - _KEPT_DESCRIPTORS - settings.postgres_pool_max
    return max(min(settings.connections_max, spare), 1)


class Connections:
    """Begins connections and counts them until they end."""

    def __init__(self, application: Application, settings: Settings, metrics: Metrics) -> None:
        self.count = 0
        """How many there are."""
        self._application = application
        self._connections: set[Connection] = set()
        shortest_s = min(settings.head_timeout_s, settings.idle_timeout_s)
        self._look_every_s = min(_LOOK_EVERY_S, shortest_s / 2)
        self._looking = asyncio.create_task(self._end_late_ones())
        self._max = connections_max(settings)
        self._max_of_address = max(int(self._max * settings.connections_address_share), 1)
        self._loop = asyncio.get_running_loop()
        self._of_address: Counter[str] = Counter()
        self._beginnings: set[asyncio.Task[None]] = set()
        self._gauge = metrics.connections
        self._refused = metrics.connections_refused
        self._full_lines = OnceASecond()
        self._refused_lines = OnceASecond()
        if self._max < settings.connections_max:
            log.info("file descriptors limit the connections", extra={"max": self._max})

    def is_below_limit(self) -> bool:
        """Return whether there may be one more."""
        if self.count < self._max:
            return True
        if self._full_lines.count():
            log.warning("connection limit reached", extra={"connections": self.count})
        return False

    def begin(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted, or close it when its address has enough."""
        try:
            address = str(connection.getpeername()[0])
        except OSError:  # it has ended before it began
            connection.close()
            return
        if self._of_address[address] >= self._max_of_address:
            connection.close()
            self._refused.inc()
            if refused := self._refused_lines.count():
                extra = {"address": address, "refused": refused}
                log.warning("connection limit of an address reached", extra=extra)
            return
        self._count(address, 1)
        task = self._loop.create_task(self._begin(connection, address))
        self._beginnings.add(task)
        task.add_done_callback(self._beginnings.discard)

    async def drain(self, timeout_s: float) -> None:
        """Answer the received requests, end every connection, and return when they have ended.

        No more are begun meanwhile. Those that are not idle within `timeout_s` are broken off.
        """
        await asyncio.gather(*self._beginnings)
        ends_at_s = self._loop.time() + timeout_s
        # Bytes received before the port was closed are read in the next turns of the loop.
        await asyncio.sleep(_DRAIN_CHECK_S)
        while self._connections and self._loop.time() < ends_at_s:
            for connection in [each for each in self._connections if each.is_idle]:
                connection.close()
            await asyncio.sleep(_DRAIN_CHECK_S)
        for connection in list(self._connections):
            connection.abort()
        self._looking.cancel()
        await asyncio.wait({self._looking})

    async def _end_late_ones(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            now_s = self._loop.time()
            for connection in [each for each in self._connections if each.deadline_s <= now_s]:
                try:
                    connection.expire()
                except Exception:  # one that fails must not keep the others open
                    log.exception("a connection could not be ended")
                    connection.abort()

    async def _begin(self, connection: socket.socket, address: str) -> None:
        def make() -> Connection:
            begun = Connection(self._application, address, self._end)
            self._connections.add(begun)
            return begun

        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(make, connection)
        except OSError as error:
            connection.close()
            self._count(address, -1)
            log.info("a connection ended before it began", extra={"cause": str(error)})

    def _end(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._count(connection.address, -1)

    def _count(self, address: str, more: int) -> None:
        self.count += more
        self._gauge.set(self.count)
        self._of_address[address] += more
        if not self._of_address[address]:
            del self._of_address[address]
