"""The client of a quota service."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, cast

import aiohttp

from quota_service.client.call import Answer, Call, given, quoted, with_query
from quota_service.client.calls import Calls
from quota_service.client.documents import (
    Event,
    Pass,
    PaymentCallback,
    PaymentResult,
    Reservation,
    Ticket,
)
from quota_service.client.problems import RefundUsed
from quota_service.client.repeats import Repeats
from quota_service.client.room import Progress, admitted
from quota_service.client.streams import AvailabilityEvent, EventsMissed, listen
from quota_service.client.transport import TIMEOUT_S, Transport
from quota_service.client.unsent import payment_report

CONNECTIONS_MAX = 100
"""Connections of a session that the client opened by itself."""
FILE_IDLE_TIMEOUT_S = 60.0


class QuotaClient(Calls):
    """Calls one service with one API key, or for one candidate with a token.

    It opens a session where it is given none, and closes that one alone. An open stream takes one
    of its 100 connections: give a session with more where there are more streams. Calls that have
    one effect however often they are sent are sent again by `repeats`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout_s: float = TIMEOUT_S,
        repeats: Repeats | None = None,
    ) -> None:
        """Take the address of the service and an API key or a candidate token; or neither."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the address of a service begins with https:// or http://, not {url}")
        if key is not None and token is not None:
            raise ValueError("give a key or a token, not both")
        self.url = url.rstrip("/")
        self._credentials = key or token
        self._session = session
        self._is_owner = session is None
        self._timeout_s = timeout_s
        self._repeats = repeats or Repeats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session, unless it was given."""
        if self._session is not None and self._is_owner:
            await self._session.close()
            self._session = None

    def for_candidate(self, token: str) -> "QuotaClient":
        """Return a client with a candidate's token that shares the session of this one."""
        return QuotaClient(
            self.url,
            token=token,
            session=self._transport.session,
            timeout_s=self._timeout_s,
            repeats=self._repeats,
        )

    async def admitted(
        self,
        exam: str,
        candidate: str,
        on_progress: Callable[[Progress], None] = lambda _: None,
        *,
        ticket: Ticket | None = None,
    ) -> Pass:
        """Join the waiting room of an exam, wait for the turn, and claim the place.

        `on_progress` is told of each look at the room. Keep the ticket in it, and give it after a
        break. See `room.admitted` for what is raised.
        """
        return await admitted(self, exam, candidate, on_progress, ticket)

    def refund(self, reservation: str) -> Answer[Reservation]:
        """Refund a booking in full, once for each person and exam.

        Where the answer was lost and the repeat finds that the refund was made, that is answered.
        """
        return self._refunded(reservation)

    def report_payment(
        self, event: str, payment: PaymentCallback, *, secret: str
    ) -> Answer[PaymentResult]:
        """Report a payment as the provider does, signed with a `whsec_` secret.

        `event` names it: the same again has one effect.
        """
        return self._call(payment_report(event, payment, secret=secret))

    async def availability_stream(
        self, exam: str, *, subjects: Sequence[str] | None = None
    ) -> AsyncGenerator[AvailabilityEvent, None]:
        """Yield what is left at every venue as it changes, without end.

        The stream is opened again where it was left when it ends or breaks. Close it with
        `contextlib.aclosing` when no more of it is read.
        """
        path = with_query(f"/v1/exams/{quoted(exam)}/availability/stream", subjects=subjects)
        async with aclosing(listen(self._transport, path)) as events:
            async for event in events:
                told = {"event": event.name, **given(id=event.id or None), "data": event.data}
                yield cast("AvailabilityEvent", told)

    async def events(
        self, *, exam: str | None = None, kinds: Sequence[str] | None = None, after: str = ""
    ) -> AsyncGenerator[Event | EventsMissed, None]:
        """Yield what happens, for ops: of one exam, of some kinds, behind the id of an event.

        Without `after` from now on. Ids are those that webhooks have. The stream is opened again
        and closed as that of the seats is.
        """
        path = with_query("/v1/events", exam=exam, kinds=kinds)
        async with aclosing(listen(self._transport, path, after)) as events:
            async for event in events:
                if event.name == "missed":
                    yield {"type": "missed", "data": event.data}
                else:
                    yield cast("Event", {"id": f"evt_{event.id}", **event.data})

    @property
    def _transport(self) -> Transport:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            self._session = aiohttp.ClientSession(connector=connector)
        headers = {"Authorization": f"Bearer {self._credentials}"} if self._credentials else {}
        return Transport(self.url, self._session, headers, self._timeout_s, self._repeats)

    def _call(self, call: Call) -> Answer[Any]:
        return self._transport.answer(call)

    def _file(self, call: Call) -> AsyncIterator[bytes]:
        return self._transport.pieces(call, FILE_IDLE_TIMEOUT_S)

    async def _refunded(self, reservation: str) -> Reservation:
        try:
            return await super().refund(reservation)
        except RefundUsed as error:
            if error.tries == 1 or error.reservation != reservation:
                raise
            return await self.get_reservation(reservation)
