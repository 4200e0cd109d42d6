"""A TCP proxy between the service and a store, that loses and holds back what it is told to.

Everything passes unless one of the switches is on. A switch works on every connection, open or
new; a method on those that are open now, for good. What `pull_cable` has frozen is as after a cable
was pulled: neither side is told of the other's end. Only the server finds out after a while, by the
keepalives the service asks it for: the kernel at this end would answer them for a client that
cannot be reached any more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from tests.support.raw_http import reset_on_close

LOOPBACK = "127.0.0.1"
KEEPALIVE_S = 15.0
_NEVER = 0.0


class _Side(asyncio.Protocol):
    """One end of a link: what arrives here leaves at the other end."""

    def __init__(self, link: "_Link", *, is_client: bool) -> None:
        self._link = link
        self._is_client = is_client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.opened(cast("asyncio.Transport", transport), is_client=self._is_client)

    def data_received(self, data: bytes) -> None:
        self._link.passed_on(data, is_request=self._is_client)

    def connection_lost(self, _error: Exception | None) -> None:
        self._link.closed(is_client=self._is_client)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: "Proxy", port: int) -> None:
        self.is_frozen = False
        self.loses_requests = False
        self.loses_answers = False
        self.has_lost_an_answer = False
        self._proxy = proxy
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._last_due = {True: _NEVER, False: _NEVER}
        self._delayed = {True: 0, False: 0}
        if proxy.freezes_new:
            self.freeze()

    def freeze(self) -> None:
        """Let nothing pass from now on; the server finds out."""
        if not self.is_frozen:
            self.is_frozen = True
            self._loop.call_later(KEEPALIVE_S, self._server_finds_out)

    def _server_finds_out(self) -> None:
        if self._server is not None:
            self._server.abort()

    def opened(self, transport: asyncio.Transport, *, is_client: bool) -> None:
        if is_client:
            self._client = transport
            self._proxy.links.add(self)
            self._proxy.keep(self._loop.create_task(self._reach_server()))
            return
        self._server = transport
        for data in self._early:
            transport.write(data)
        self._early.clear()

    async def _reach_server(self) -> None:
        try:
            await self._loop.create_connection(
                partial(_Side, self, is_client=False), LOOPBACK, self._proxy.target_port
            )
        except OSError:
            self.abort()

    def passed_on(self, data: bytes, *, is_request: bool) -> None:
        if self._loses(is_request=is_request):
            self._proxy.lost_bytes += len(data)
            self.has_lost_an_answer |= not is_request
            return
        if not is_request and self._proxy.is_cut_now():
            if self._client is not None:
                # Closed, it sends RST, as the system does for a server that crashed.
                reset_on_close(self._client.get_extra_info("socket"))
            self.abort()
            return
        now = self._loop.time()
        delay_s = self._proxy.delay_s
        if is_request:
            request_delay_s, word = self._proxy.request_delays.get(self._port, (0.0, b""))
            delay_s += request_delay_s if word in data else 0.0
        due = max(now + delay_s, self._last_due[is_request])
        # What is due may still wait for its turn: a late loop reads before it calls its timers.
        if due <= now and not self._delayed[is_request]:
            self._write(data, is_request=is_request)
            return
        # A hair later than the one before, so that the loop cannot swap the two.
        self._last_due[is_request] = due + 1e-6
        self._delayed[is_request] += 1
        self._loop.call_at(due, partial(self._write_delayed, data, is_request=is_request))

    def _loses(self, *, is_request: bool) -> bool:
        if self.is_frozen or (is_request and self.loses_requests):
            return True
        return not is_request and (self.loses_answers or self._proxy.drops_answers)

    def _write_delayed(self, data: bytes, *, is_request: bool) -> None:
        self._delayed[is_request] -= 1
        self._write(data, is_request=is_request)

    def _write(self, data: bytes, *, is_request: bool) -> None:
        to = self._server if is_request else self._client
        if to is None:
            self._early.append(data)
        elif not to.is_closing():
            to.write(data)

    def closed(self, *, is_client: bool) -> None:
        other = self._server if is_client else self._client
        if is_client:
            self._proxy.links.discard(self)
        if other is not None and not self.is_frozen:
            other.close()

    def abort(self) -> None:
        for transport in (self._client, self._server):
            if transport is not None:
                transport.abort()


class Proxy:
    """Listens on ports of its own and joins each client to the server on `target_port`.

    What passes is held back by `delay_s` each way, and a request by what `request_delays` has for
    the port it came through: seconds, for those that contain a word. `cuts` counts the answers that
    were lost with their connections, `lost_bytes` all else that did not pass.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.request_delays: dict[int, tuple[float, bytes]] = {}
        self.drops_answers = False
        self.freezes_new = False
        self.lost_bytes = 0
        self.cuts = 0
        self.links: set[_Link] = set()
        self.port = 0
        self._answers_until_cut = 0
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self.port = await self.add_port()

    async def add_port(self) -> int:
        """Listen on one port more, for clients that can be told apart; return it."""
        port = 0

        def link() -> _Side:
            return _Side(_Link(self, port), is_client=True)

        server = await asyncio.get_running_loop().create_server(link, LOOPBACK, 0)
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        for server in self._servers:
            server.close()
        self.reset()

    def let_pass(self) -> None:
        """Turn off every switch."""
        self.delay_s = 0.0
        self.request_delays.clear()
        self.drops_answers = self.freezes_new = False

    def lead_to(self, url: str) -> None:
        """Let new connections go to the server of a URL; open ones stay where they are."""
        port = urlsplit(url).port
        assert port is not None, url
        self.target_port = port

    def in_front_of(self, direct: str, port: int | None = None) -> str:
        """The URL of a server with the proxy's port in it, or another of its ports."""
        parts = urlsplit(direct)
        credentials, at, _ = parts.netloc.rpartition("@")
        netloc = f"{credentials}{at}{LOOPBACK}:{port or self.port}"
        return urlunsplit(parts._replace(netloc=netloc))

    def reset(self) -> None:
        """Cut every open connection."""
        for link in list(self.links):
            link.abort()

    def reset_those_that_lost(self) -> None:
        """Cut the connections that an answer was dropped on: their streams are torn."""
        for link in list(self.links):
            if link.has_lost_an_answer:
                link.abort()

    def lose_answers(self) -> None:
        """Let the server hear its open connections, and nobody hear the server."""
        for link in self.links:
            link.loses_answers = True

    def freeze(self) -> None:
        """Let nothing pass on the open connections but their end."""
        for link in self.links:
            link.loses_requests = link.loses_answers = True

    def pull_cable(self) -> None:
        """Let nothing pass on the open connections, not even their end."""
        for link in self.links:
            link.freeze()

    def cut_answer(self, number: int) -> None:
        """Let the n-th answer from now on be lost with its connection; the first is 1."""
        self._answers_until_cut = number

    def is_cut_now(self) -> bool:
        """Count an answer; return whether it is the one to be lost."""
        if not self._answers_until_cut:
            return False
        self._answers_until_cut -= 1
        self.cuts += not self._answers_until_cut
        return not self._answers_until_cut

    def keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """Put a proxy before the server of a URL; `in_front_of` tells where it listens."""
    proxy = Proxy(0)
    proxy.lead_to(url)
    await proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()
