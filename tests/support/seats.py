"""One shard of an exam on a real Redis, with short words for what tests do to it."""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from quota_service.domain.exam import Exam, Quota
from quota_service.domain.reservation import Reservation, derive_serial
from quota_service.observability.metrics import Metrics
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.seats.record import WITHOUT_RECORD
from quota_service.seats.replies import ReserveRequest, ScriptReply, ShardSnapshot
from quota_service.seats.scripts import load_scripts
from quota_service.seats.servers import redis_pool
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from tests.support.books import check_books, read_journal
from tests.support.exams import make_exam

EPOCH = 1


@dataclass(frozen=True, slots=True)
class SeatsUnderTest:
    """An open shard and the store that works on it."""

    client: "redis.asyncio.Redis"
    runner: ScriptRunner
    store: SeatStore
    metrics: Metrics
    exam: Exam
    shard: Shard
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def request(
        self,
        candidate: str = "candidate-1",
        subjects: tuple[str, ...] = ("general",),
        venues: tuple[str, ...] = ("jinan",),
        *,
        key: str | None = None,
        request_hash: str = "hash",
    ) -> ReserveRequest:
        """Return a request as the protocol makes it, under a new key unless one is given."""
        key = key or f"key-{next(self._numbers)}"
        return ReserveRequest(
            serial=derive_serial(None, self.exam.id, candidate, key),
            candidate=candidate,
            subjects=subjects,
            sessions=tuple(self.exam.session_of[subject] for subject in subjects),
            venues=venues,
            request_hash=request_hash,
        )

    async def reserve(self, *words: Any, exam: Exam | None = None, **options: Any) -> ScriptReply:
        """Reserve what `request` would make of the arguments."""
        request = self.request(*words, **options)
        return await self.store.reserve(self.shard, exam or self.exam, request)

    async def hold(self, *words: Any, **options: Any) -> str:
        """Reserve, which must succeed, and return the serial."""
        request = self.request(*words, **options)
        answer = await self.store.reserve(self.shard, self.exam, request)
        assert answer.code is Code.DONE, answer
        return request.serial

    async def begin_payment(
        self,
        serial: str,
        attempt: str = "attempt-1",
        amount: int | None = None,
        currency: str = "CNY",
        *,
        again: bool = True,
        exam: Exam | None = None,
    ) -> ScriptReply:
        """Begin to pay a reservation, what it costs unless told otherwise.

        With `again` one that has expired takes its seats again, as the protocol lets it.
        """
        if amount is None:
            amount = (await self.record(serial)).amount
        answer = await self.store.begin_payment(self.shard, serial, attempt, amount, currency)
        if answer.code is not Code.ENDED or not again or answer.reservation is None:
            return answer
        exam, expired = exam or self.exam, answer.reservation
        return await self.store.begin_payment_again(
            self.shard, exam, expired, attempt, amount=amount, currency=currency
        )

    async def with_attempt(self, *words: Any, attempt: str = "attempt-1", **options: Any) -> str:
        """Reserve, begin to pay, and return the serial."""
        serial = await self.hold(*words, **options)
        assert (await self.begin_payment(serial, attempt)).code is Code.DONE
        return serial

    async def confirmed(self, *words: Any, **options: Any) -> str:
        """Reserve, pay, and return the serial."""
        serial = await self.with_attempt(*words, **options)
        assert (await self.store.confirm(self.shard, serial)).code is Code.DONE
        return serial

    async def record(self, serial: str) -> Reservation:
        """Return a reservation that must be there."""
        found = await self.store.read(self.shard, serial)
        assert found is not None
        return found

    async def snapshot(self) -> ShardSnapshot:
        """Return every counter of the shard."""
        return await self.store.snapshot(self.shard)

    async def remaining(self, venue: str, subject: str) -> int:
        """Return the seats of a quota that can be reserved."""
        return (await self.snapshot()).remaining[Quota(venue, subject)]

    async def verbs(self) -> list[str]:
        """Return what the journal tells of reservations, oldest first."""
        entries = await read_journal(self.client, self.shard)
        return [fields["verb"] for _, fields in entries if fields["verb"] not in WITHOUT_RECORD]

    async def check_books(self) -> None:
        """Fail unless everything in Redis agrees."""
        await check_books(self.client, self.shard)

    async def calls(self, command: str = "evalsha") -> int:
        """Return how many calls of a command the server has counted."""
        stats: Mapping[str, Any] = await self.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@asynccontextmanager
async def runner_of(settings: Settings) -> AsyncIterator[ScriptRunner]:
    """Lend a runner, and with it the connection, of a process of its own."""
    runner = ScriptRunner(redis_pool(settings), load_scripts(), settings, Metrics())
    try:
        yield runner
    finally:
        await runner.aclose()


@asynccontextmanager
async def open_seats(settings: Settings, exam: Exam | None = None) -> AsyncIterator[SeatsUnderTest]:
    """Open a shard of an exam, with the exam's seats in it."""
    exam = exam or make_exam()
    client = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
    metrics = Metrics()
    runner = ScriptRunner(redis_pool(settings), load_scripts(), settings, metrics)
    seats = SeatsUnderTest(client, runner, SeatStore(runner), metrics, exam, Shard(exam.id, EPOCH))
    try:
        assert await seats.store.open(seats.shard)
        await seats.store.define(seats.shard, exam, before="")
        answer = await seats.store.set_capacity(seats.shard, exam.seats)
        assert answer.code is Code.DONE
        yield seats
    finally:
        await runner.aclose()
        await client.aclose()
