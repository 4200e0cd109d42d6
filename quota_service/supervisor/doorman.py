"""The port: accepts connections and hands each to the worker that has the fewest."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Iterable

from quota_service.supervisor.team import Team

log = logging.getLogger(__name__)

_BACKLOG = 1024
_ACCEPTED_A_TURN = 64
_PAUSE_S = 0.02
"""How long to leave connections in the kernel's queue when no worker takes one."""


async def bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket bound to each address of a host; they do not listen yet.

    Raises OSError when one cannot be had.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            door = socket.socket(family, kind, protocol)
            bound.append(door)
            door.setblocking(False)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            door.bind(address)
    except OSError:
        for door in bound:
            door.close()
        raise
    return bound


class Doorman:
    """Stands at the bound sockets from now until it is closed.

    A connection is only accepted when there is a worker to take it; until then it waits in the
    kernel's queue, as one does whose worker died before it took it, here.
    """

    def __init__(self, doors: list[socket.socket], team: Team) -> None:
        self._doors = doors
        self._team = team
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[socket.socket] = deque()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        team.take_back = self.take_back
        for door in doors:
            door.listen(_BACKLOG)
        self._open()

    @property
    def url(self) -> str:
        """The base URL of the first address."""
        host, port, *_ = self._doors[0].getsockname()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def take_back(self, connections: Iterable[socket.socket]) -> None:
        """Find another worker for connections that were handed out and never taken."""
        self._waiting.extend(connections)
        if self._is_closed:
            self._refuse_waiting()
        elif self._waiting and self._pause is None:
            self._close_for_a_while()

    def close(self) -> None:
        """Refuse connections from now on; those that wait in the kernel's queue still come in."""
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._hand_waiting()
        for door in self._doors:
            self._loop.remove_reader(door)
            for _ in range(_BACKLOG):
                if not self._let_in(door):
                    break
            door.close()
        self._refuse_waiting()

    def _open(self) -> None:
        self._pause = None
        if not self._hand_waiting():
            self._close_for_a_while()
            return
        for door in self._doors:
            self._loop.add_reader(door, self._let_some_in, door)

    def _close_for_a_while(self) -> None:
        if self._is_closed:
            return
        for door in self._doors:
            self._loop.remove_reader(door)
        self._pause = self._loop.call_later(_PAUSE_S, self._open)

    def _hand_waiting(self) -> bool:
        """Hand over those that wait here, in their order; False when some still do."""
        while self._waiting:
            if not self._hand(self._waiting[0]):
                return False
            self._waiting.popleft()
        return True

    def _refuse_waiting(self) -> None:
        if self._waiting:
            log.error("connections were refused", extra={"count": len(self._waiting)})
        while self._waiting:
            self._waiting.popleft().close()

    def _let_some_in(self, door: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            if not self._team.taking or self._waiting:
                self._close_for_a_while()
                return
            if not self._let_in(door):
                return
        if self._waiting:
            self._close_for_a_while()

    def _let_in(self, door: socket.socket) -> bool:
        """Take one connection and hand it over; False when there is none."""
        try:
            connection, _ = door.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            # No descriptor or memory is left, or the network is away: it may be better later.
            log.error("cannot accept", extra={"cause": str(error)})  # noqa: TRY400
            self._close_for_a_while()
            return False
        if not self._hand(connection):
            self._waiting.append(connection)
        return True

    def _hand(self, connection: socket.socket) -> bool:
        """Hand a connection to the worker that has the fewest; False when none can take it."""
        takers = self._team.ready or self._team.taking
        takers.sort(key=lambda worker: (worker.connections, worker.handed))
        return any(worker.hand(connection) for worker in takers)
