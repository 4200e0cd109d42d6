"""The port: accepts connections below the limit, and leaves the rest in the kernel's queue.

What accepts again and again when no file descriptor is left burns the process and fills the log;
so after any failure to accept, the sockets are not polled for a pause.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

log = logging.getLogger(__name__)

_BACKLOG = 1024
_ACCEPTED_A_TURN = 64
_FULL_PAUSE_S = 0.02
"""How long to leave connections in the kernel's queue at the limit."""
_FAILED_PAUSE_S = 1.0
"""How long to leave them there when one could not be accepted."""


async def bind(
    host: str, port: int, *, unread_max_s: float, reuse_port: bool = False
) -> list[socket.socket]:
    """Return a socket bound to each address of a host; they do not listen yet.

    The system breaks a connection off whose client has read nothing of what was sent to it for
    `unread_max_s`. With `reuse_port` other processes of this user that ask for it too may listen on
    the same address. Raises OSError when an address cannot be had.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            bound.append(listener)
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
            # Connections inherit it.
            unread_max_ms = round(unread_max_s * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_max_ms)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


class Acceptor:
    """Listens on bound sockets from now until it is closed."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        *,
        is_below_limit: Callable[[], bool],
        take: Callable[[socket.socket], None],
    ) -> None:
        """`is_below_limit` is asked before each connection, which `take` is then called with."""
        self._listeners = listeners
        self._is_below_limit = is_below_limit
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._has_failed = False
        for listener in listeners:
            listener.listen(_BACKLOG)
        self._open()

    @property
    def url(self) -> str:
        """The base URL of the first address."""
        host, port, *_ = self._listeners[0].getsockname()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def pause(self, pause_s: float = _FULL_PAUSE_S) -> None:
        """Accept none for a while."""
        if self._pause is None:
            for listener in self._listeners:
                self._loop.remove_reader(listener)
            self._pause = self._loop.call_later(pause_s, self._open)

    def close(self) -> None:
        """Refuse connections from now on; those that wait in the kernel's queue still come in."""
        if self._pause is not None:
            self._pause.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            with suppress(OSError):  # what cannot be accepted now is refused with the port
                for _ in range(_BACKLOG):
                    if not self._accept(listener):
                        break
            listener.close()

    def _open(self) -> None:
        self._pause = None
        if not self._is_below_limit():
            self.pause()
            return
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept_some, listener)

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            if self._pause is None and not self._is_below_limit():
                self.pause()
            if self._pause is not None:
                return
            try:
                if not self._accept(listener):
                    return
            except OSError as error:
                # No descriptor or memory is left, or the network is away: it may be better later.
                if not self._has_failed:
                    log.error("cannot accept", extra={"cause": str(error)})  # noqa: TRY400
                self._has_failed = True
                self.pause(_FAILED_PAUSE_S)
                return

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection; False when there is none. Raises OSError when it cannot be had."""
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        self._has_failed = False
        self._take(connection)
        return True
