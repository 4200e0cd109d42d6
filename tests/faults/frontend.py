"""Registration frontends and the payment provider: every call of theirs is in the history.

Frontends ask one of the API processes, and another one, with the same key, when they get no answer.
The provider tells each event until it is answered 200, as providers do.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT, payment_report
from tests.faults.history import Answer, History, Kind
from tests.support.client import PAYMENT_SECRETS

CALL_LIMIT_S = 8.0
TRIES_MAX = 8
RETRY_PAUSE_S = (0.05, 0.4)
FEE = 8000


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the payment provider."""

    event: str
    reservation: str
    status: str
    amount: int

    @property
    def args(self) -> dict[str, Any]:
        return {
            "event": self.event,
            "reservation": self.reservation,
            "status": self.status,
            "amount": self.amount,
        }

    def report(self) -> Call:
        payment = {
            "reservation": self.reservation,
            "status": self.status,
            "amount": self.amount,
            "currency": "CNY",
            "paid_at": "2026-01-02T03:04:05.678Z",
            "provider_reference": f"ref-{self.event}",
        }
        return payment_report(self.event, payment, secret=PAYMENT_SECRETS)


class Frontend:
    """Calls the API processes on behalf of one exam's candidates and of the provider."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        key: str,
        exam: str,
        history: History,
        rng: random.Random,
        is_running: Callable[[], bool],
    ) -> None:
        self._session = session
        self._urls = list(urls)
        self._key = key
        self._numbers = itertools.count(1)
        self.exam = exam
        self.history = history
        self.rng = rng
        self.is_running = is_running
        self.undelivered: dict[str, Event] = {}
        self.delivered: dict[str, Event] = {}

    @property
    def api_count(self) -> int:
        return len(self._urls)

    def number(self) -> int:
        return next(self._numbers)

    async def reserve(
        self,
        candidate: str,
        subjects: Sequence[str],
        venues: Sequence[str],
        key: str,
    ) -> Answer:
        return await self._call("reserve", self._reserving(candidate, subjects, venues, key))

    async def reserve_until_known(
        self, candidate: str, subjects: Sequence[str], venues: Sequence[str], key: str
    ) -> Answer:
        return await self._until_known(lambda: self.reserve(candidate, subjects, venues, key))

    async def probe(self, candidate: str, subject: str, venue: str, api: int) -> Answer:
        """Reserve, once, where there are always seats, to see whether a process serves."""
        call = self._reserving(candidate, [subject], [venue], candidate)
        return await self._call("probe", call, api=api)

    async def release(self, reservation: str) -> Answer:
        call = UNSENT.release(reservation)
        return await self._call("release", call, {"reservation": reservation})

    async def release_until_known(self, reservation: str) -> Answer:
        return await self._until_known(lambda: self.release(reservation))

    async def checkout(self, reservation: str) -> Answer:
        call = UNSENT.checkout(reservation)
        return await self._call("checkout", call, {"reservation": reservation})

    async def change(self, reservation: str, venue: str) -> Answer:
        args = {"reservation": reservation, "venue": venue}
        return await self._call("change", UNSENT.change_venue(reservation, venue=venue), args)

    async def refund(self, reservation: str) -> Answer:
        call = UNSENT.refund(reservation)
        return await self._call("refund", call, {"reservation": reservation})

    async def look(self, reservation: str) -> Answer:
        call = UNSENT.get_reservation(reservation)
        return await self._call("look", call, {"reservation": reservation})

    async def join(
        self, candidate: str, subjects: Sequence[str], venues: Sequence[str], key: str
    ) -> Answer:
        """Stand in line until it is known whether one does."""
        call = UNSENT.join_waiting_list(
            self.exam,
            candidate=candidate,
            subjects=list(subjects),
            venues=list(venues),
            idempotency_key=key,
        )
        return await self._until_known(lambda: self._call("join", call))

    async def entry(self, entry: str) -> Answer:
        call = UNSENT.get_waiting_list_entry(self.exam, entry)
        return await self._call("entry", call, {"entry": entry})

    async def leave(self, entry: str) -> Answer:
        call = UNSENT.leave_waiting_list(self.exam, entry)
        return await self._until_known(lambda: self._call("leave", call, {"entry": entry}))

    def event(
        self, reservation: Mapping[str, Any], status: str = "captured", amount: int | None = None
    ) -> Event:
        """Make a new event about a reservation, as the API has answered it."""
        paid = int(reservation["amount"]) if amount is None else amount
        name = f"{self.exam}-event-{self.number()}"
        return Event(name, str(reservation["id"]), status, paid)

    async def tell(self, event: Event) -> Answer:
        """Tell an event once; it stays undelivered until one telling is answered 200."""
        self.undelivered.setdefault(event.event, event)
        answer = await self._call("pay", event.report(), event.args)
        if not answer.is_unknown:
            self.undelivered.pop(event.event, None)
            self.delivered[event.event] = event
        return answer

    async def pay(self, event: Event) -> Answer:
        return await self._until_known(lambda: self.tell(event))

    async def deliver_the_rest(self, within_s: float) -> int:
        """Tell what is undelivered until it is delivered; return how many events are left."""
        deadline = time.monotonic() + within_s
        while self.undelivered and time.monotonic() < deadline:
            waiting = list(self.undelivered.values())[:32]
            await asyncio.gather(*(self.tell(event) for event in waiting))
            if self.undelivered:
                await asyncio.sleep(RETRY_PAUSE_S[0])
        return len(self.undelivered)

    async def think(self) -> None:
        """Pause as people do; it also keeps one round from taking the whole machine."""
        await asyncio.sleep(self.rng.uniform(0.002, 0.03))

    async def _until_known(self, call: Callable[[], Any]) -> Answer:
        answer: Answer = await call()
        for _ in range(TRIES_MAX):
            if not answer.is_unknown or not self.is_running():
                break
            await asyncio.sleep(self.rng.uniform(*RETRY_PAUSE_S))
            answer = await call()
        return answer

    def _reserving(
        self, candidate: str, subjects: Sequence[str], venues: Sequence[str], key: str
    ) -> Call:
        return UNSENT.reserve(
            self.exam,
            candidate=candidate,
            subjects=list(subjects),
            venues=list(venues),
            accepted_notice="2023-1",
            idempotency_key=key,
        )

    async def _call(
        self, op: str, call: Call, args: Mapping[str, Any] | None = None, *, api: int | None = None
    ) -> Answer:
        """Send a call once; the history has its arguments, or else its body and key."""
        chosen = self.rng.randrange(len(self._urls)) if api is None else api
        told = args or {**(call.document or {}), "key": call.headers["Idempotency-Key"]}
        headers = {"Authorization": f"Bearer {self._key}", **call.headers}
        number = self.history.invoked(op, {**told, "api": chosen})
        try:
            async with self._session.request(
                call.method,
                f"{self._urls[chosen]}{call.path}",
                data=call.body,
                headers={"Content-Type": "application/json", **headers},
                timeout=aiohttp.ClientTimeout(CALL_LIMIT_S),
            ) as response:
                answer = _answer(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            answer = Answer(Kind.UNKNOWN, slug=type(error).__name__)
        self.history.ended(number, answer)
        return answer


def _answer(status: int, body: bytes) -> Answer:
    try:
        told = json.loads(body)
    except ValueError:
        return Answer(Kind.UNKNOWN, status, "not JSON")
    if status < 300:
        return Answer(Kind.OK, status, body=told)
    slug = str(told.get("type", "")).removeprefix("/problems/")
    kind = Kind.UNKNOWN if status >= 500 else Kind.REFUSED
    return Answer(kind, status, slug, told)
