"""Hands each connection that comes to the port to the worker that has the fewest."""

import logging
import socket
from collections import deque
from collections.abc import Iterable, Sequence

from quota_service.api.acceptor import Acceptor
from quota_service.supervisor.team import Team

log = logging.getLogger(__name__)


class Doorman:
    """Stands at the bound sockets from now until it is closed.

    A connection is only accepted when there is a worker with room for it; until then it waits in
    the kernel's queue, as one does whose worker died before it took it, here.
    """

    def __init__(self, listeners: Sequence[socket.socket], team: Team) -> None:
        self._team = team
        self._waiting: deque[socket.socket] = deque()
        self._is_closed = False
        team.take_back = self.take_back
        self._acceptor = Acceptor(listeners, has_room=self._has_room, take=self._take)

    @property
    def url(self) -> str:
        """The base URL of the first address."""
        return self._acceptor.url

    def take_back(self, connections: Iterable[socket.socket]) -> None:
        """Find another worker for connections that were handed out and never taken."""
        self._waiting.extend(connections)
        if self._is_closed:
            self._refuse_waiting()
        elif self._waiting:
            self._acceptor.pause()  # when it opens again they are the first

    def close(self) -> None:
        """Refuse connections from now on; those that wait in the kernel's queue still come in."""
        self._is_closed = True
        self._hand_waiting()
        self._acceptor.close()
        self._refuse_waiting()

    def _has_room(self) -> bool:
        """Hand over those that wait here; return whether a worker would take one more."""
        return self._hand_waiting() and self._team.has_room

    def _take(self, connection: socket.socket) -> None:
        if not self._hand(connection):
            self._waiting.append(connection)
            if not self._is_closed:
                self._acceptor.pause()

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

    def _hand(self, connection: socket.socket) -> bool:
        """Hand a connection to the worker that has the fewest; False when none can take it."""
        takers = sorted(self._team.takers, key=lambda worker: (worker.connections, worker.handed))
        return any(worker.hand(connection) for worker in takers)
