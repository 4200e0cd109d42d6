"""A load that goes on while stores fail: reservations and payments at set rates, over HTTP.

It is bounded: every caller waits for its answer before it asks again, and what could not be sent in
time is not made up for. Every hold that was acknowledged is kept with its times, so that afterwards
each one can be looked for. A payment that was not accepted is sent again, as a provider does.
"""

import asyncio
import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import orjson

from loadtest.bench.messages import order_requests, payment_requests
from loadtest.bench.targets import Payments
from loadtest.bench.waiting import until

RESERVATIONS_PER_S = 500.0
PAYMENTS_PER_S = 50.0
_RESERVING, _PAYING = 64, 16
"""Callers of each kind, each with a connection of its own."""
_ANSWER_LIMIT_S = 10.0
_NO_ANSWER = 0
_CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A hold that was answered 201; times by the monotonic clock, in seconds."""

    reservation: str
    sent_s: float
    answered_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """An order and the status of its answer, 0 without one; times as in `Acknowledged`."""

    sent_s: float
    answered_s: float
    status: int


class LiveLoad:
    """Asks from `async with` on, and stops at its end, when everything is answered.

    `share` is the part of the rates that this exam gets, where several share the load.
    """

    def __init__(
        self,
        url: str,
        exam: str,
        frontend_key: str,
        secret: bytes,
        run: str,
        *,
        share: float = 1.0,
    ) -> None:
        self._url = url
        self._share = share
        path = f"/v1/exams/{exam}/reservations"
        self._orders = order_requests(path, frontend_key, run)
        self._secret = secret
        self._numbers = itertools.count(1)
        self._unpaid: deque[str] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False
        self.acknowledged: list[Acknowledged] = []
        self.paid: list[str] = []
        """Reservations whose payment was answered with a booking."""
        self.statuses: Counter[int] = Counter()
        """Answers to orders by status; 0 where none came."""
        self.asked: list[Asked] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for ask, count, rate in (
            (self._reserve, _RESERVING, RESERVATIONS_PER_S),
            (self._pay, _PAYING, PAYMENTS_PER_S),
        ):
            pace = _Pace(rate * self._share)
            callers = math.ceil(count * self._share)
            self._tasks += [loop.create_task(self._call(ask, pace)) for _ in range(callers)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ending = True
        _, late = await asyncio.wait(self._tasks, timeout=2 * _ANSWER_LIMIT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=error is not None)

    async def first_since(self, moment_s: float, *, within_s: float) -> float:
        """Return when an order that was sent after a time was first answered 201.

        Raises BenchError when that takes longer than `within_s` seconds from now.
        """
        found: list[float] = []

        async def is_served() -> bool:
            # Those answered last are at the end.
            for each in reversed(self.acknowledged):
                if each.answered_s < moment_s:
                    break
                if each.sent_s > moment_s:
                    found.append(each.answered_s)
            return bool(found)

        await until(is_served, "a reservation to be served again", within_s=within_s)
        return min(found)

    async def _call(self, ask: "Callable[[_Line], Awaitable[None]]", pace: "_Pace") -> None:
        line = _Line(self._url)
        try:
            while not self._is_ending:
                await pace.turn()
                await ask(line)
        finally:
            line.close()

    async def _reserve(self, line: "_Line") -> None:
        number = next(self._numbers)
        request = self._orders[number % len(self._orders)].replace(b"{n}", b"%08d" % number)
        sent_s = time.monotonic()
        status, body = await line.ask(request)
        answered_s = time.monotonic()
        self.statuses[status] += 1
        self.asked.append(Asked(sent_s, answered_s, status))
        if status == HTTPStatus.CREATED:
            reservation = orjson.loads(body)["id"]
            self.acknowledged.append(Acknowledged(reservation, sent_s, answered_s))
            self._unpaid.append(reservation)

    async def _pay(self, line: "_Line") -> None:
        if not self._unpaid:
            return
        reservation = self._unpaid.popleft()
        (request,) = payment_requests(Payments.PATH, self._secret, [reservation])
        status, body = await line.ask(request)
        if status != HTTPStatus.OK:
            self._unpaid.append(reservation)
        elif orjson.loads(body)["outcome"] == _CONFIRMED:
            self.paid.append(reservation)


class _Pace:
    """Limits a rate; permits that were not taken are not given later."""

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s
        self._next_s = time.monotonic()

    async def turn(self) -> None:
        now_s = time.monotonic()
        at_s = max(self._next_s, now_s)
        self._next_s = at_s + self._interval_s
        await asyncio.sleep(at_s - now_s)


class _Line:
    """One connection to the API, opened when it is needed."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body, status 0 when no answer came in time."""
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                return await self._ask(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
            return _NO_ANSWER, b""

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            with suppress(OSError):
                self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            host, port = self._place.hostname, self._place.port
            self._streams = await asyncio.open_connection(host, port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if found else 0
        return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
