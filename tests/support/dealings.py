"""An exam with a waiting list as the dealing meets it: who waits, and which seats came back."""

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation, derive_serial
from quota_service.ledger.waiting_list import JoinEnd, NewEntry
from quota_service.observability.caller import Caller
from quota_service.registration.deal import Dealing, DealingLimits, Dealt
from quota_service.registration.expire import expire_holds
from quota_service.registration.import_exam import import_exam
from quota_service.seats.keys import Shard
from quota_service.waiting_list.entry import Entry
from tests.support.books import check_books
from tests.support.exams import exam_definition
from tests.support.lost_shards import drain
from tests.support.records import move_due
from tests.support.redis_clients import redis_of

SEATS: Mapping[str, Mapping[str, int]] = {
    "jinan": {"general": 4, "qms": 4, "ems": 4},
    "tianjin": {"general": 4, "qms": 4, "ems": 4},
}
ENTRIES = "SELECT candidate, state FROM waiting_list_entries WHERE exam = $1 ORDER BY number"
_NUMBERS = itertools.count(1)


def in_hours(hours: int) -> str:
    """Return the time of day in some hours, on the clocks of the test exam."""
    now = dt.datetime.now(ZoneInfo("Asia/Shanghai"))
    return (now + dt.timedelta(hours=hours)).strftime("%H:%M")


@dataclass(slots=True)
class ListUnderTest:
    """The waiting list of an exam, of which no seat is on open sale unless a test opens some."""

    service: Service
    exam: Exam
    leader: Dealing = field(init=False)

    def __post_init__(self) -> None:
        self.leader = self.another_leader()

    @property
    def shard(self) -> Shard:
        return self.service.stores.registry.shard(self.exam.id)

    def another_leader(self, stores: Any = None, **limits: Any) -> Dealing:
        """Return the dealing of another process, which looks into Postgres each time."""
        limits = {"ends_interval_s": 0, "lease_s": 60, **limits}
        changed = self.service.settings.with_limits(DealingLimits(**limits))
        return Dealing((stores or self.service.stores).dealing, changed)

    async def visit(self, leader: Dealing | None = None) -> Dealt:
        return await (leader or self.leader).visit(self.exam, self.shard)

    async def join(
        self,
        candidate: str,
        subjects: tuple[str, ...] = ("general",),
        venues: tuple[str, ...] = ("jinan",),
        **changes: Any,
    ) -> Entry:
        """Let a candidate wait."""
        stores, exam = self.service.stores.dealing, self.exam
        fields: dict[str, Any] = {
            "exam": exam.id,
            "serial": derive_serial(None, exam.id, candidate, f"list-{next(_NUMBERS)}"),
            "candidate": candidate,
            "subjects": subjects,
            "sessions": tuple(exam.session_of[subject] for subject in subjects),
            "venues": venues,
            "until_ms": None,
            "quiet_hours": None,
            "request_hash": "hash",
            "shard": (exam.id, self.shard.epoch),
            "revision": stores.registry.find(exam.id).revision,
            "longest": 1,
            "length_max": 100_000,
            "by": Caller("key-1", "request-1"),
        }
        joined = await stores.list_ledger.join(NewEntry(**{**fields, **changes}))
        assert joined.end is JoinEnd.JOINED, joined
        assert joined.entry is not None
        await stores.lists.relist(self.shard, [joined.entry])
        return joined.entry

    async def return_seats(self, quota: str, count: int = 1) -> None:
        """Let seats that were set aside by the test come back."""
        await self._take_from_aside(quota, count, "returned")

    async def put_on_sale(self, quota: str, count: int = 1) -> None:
        """Let seats that were set aside by the test be on open sale."""
        await self._take_from_aside(quota, count, "remaining")

    async def _take_from_aside(self, quota: str, count: int, counter: str) -> None:
        client = redis_of(self.service)
        await client.hincrby(self.shard.key("aside"), quota, -count)
        await client.hincrby(self.shard.key("aside_left"), f"test/{quota}", -count)
        await client.hincrby(self.shard.key(counter), quota, count)

    async def check_books(self) -> None:
        """Fail unless Redis agrees with itself."""
        await check_books(redis_of(self.service), self.shard)

    async def hash_of(self, name: str) -> dict[str, str]:
        """Return a hash of the shard; without what says who deals."""
        found: dict[str, str] = await redis_of(self.service).hgetall(self.shard.key(name))
        return {each: text for each, text in found.items() if each != "leader"}

    async def on_sale(self) -> dict[str, int]:
        """Return the seats on open sale by quota, where there are any."""
        found = await self.hash_of("remaining")
        return {quota: int(seats) for quota, seats in found.items() if seats != "0"}

    async def states(self) -> dict[str, str]:
        """Return the state of each candidate's last entry, in the order in which they joined."""
        return {row["candidate"]: row["state"] for row in await self.rows(ENTRIES)}

    async def entries(self) -> dict[str, Any]:
        """Return the row of each candidate's last entry."""
        query = "SELECT * FROM waiting_list_entries WHERE exam = $1 ORDER BY number"
        return {row["candidate"]: row for row in await self.rows(query)}

    async def holds(self) -> dict[str, Reservation]:
        """Return the hold of each candidate who was made an offer."""
        entries = await self.entries()
        serials = {
            c: e["reservation"].rpartition(".")[2] for c, e in entries.items() if e["offers"]
        }
        found = await self.service.stores.seats.read_many(self.shard, list(serials.values()))
        return {c: hold for c, hold in zip(serials, found, strict=True) if hold is not None}

    async def expire(self, candidate: str) -> None:
        """Let the offer of a candidate run out, and let Postgres know it."""
        await self.run_out(candidate)
        await drain(self.service)

    async def run_out(self, candidate: str) -> None:
        """Let the offer of a candidate run out."""
        hold = (await self.holds())[candidate]
        serial = hold.id.rpartition(".")[2]
        await move_due(redis_of(self.service), self.shard, serial)
        assert await expire_holds(self.service.stores, self.shard, [serial]) == 1

    async def rows(self, statement: str, *args: Any) -> list[Any]:
        """Return the rows of a statement about the exam, which is its first parameter."""
        async with self.service.stores.ledger.connection() as connection:
            return await connection.fetch(statement, self.exam.id, *args)

    async def end_lease(self) -> None:
        """End the lease of the present leader."""
        await self.rows(
            "UPDATE waiting_lists SET lease_until = now() - interval '1 second'"
            " WHERE exam = $1 AND lease_until IS NOT NULL"
        )

    def sample(self, name: str, **labels: str) -> float:
        """Return a metric of the exam."""
        labels = {"exam": self.exam.id, **labels}
        return self.service.metrics.registry.get_sample_value(f"quota_{name}", labels) or 0


async def open_list(
    service: Service,
    rule: str = "list-first",
    fee: int = 8000,
    seats: Mapping[str, Mapping[str, int]] | None = None,
    rooms: Mapping[str, Mapping[str, int]] | None = None,
    **rules: Any,
) -> ListUnderTest:
    """Return the list of the test exam, all of whose seats the test has set aside.

    Those that are given as `seats` are on open sale.
    """
    definition = exam_definition(seats=seats or SEATS)
    if rooms is not None:
        definition["rooms"] = rooms
    definition["fee"]["amount"] = fee
    definition["returned"] = {"rule": rule}
    if rule == "at-times":
        definition["returned"]["times"] = [in_hours(6), in_hours(18)]
    definition["waiting_list"] = {"offer_ttl_s": 3600, **rules}
    await import_exam(service.stores.maintenance, parse_exam(definition))
    async with service.stores.ledger.transaction() as connection:
        await service.stores.dealing.list_ledger.ensure(connection, "exam-1")
    opened = ListUnderTest(service, service.stores.registry.find("exam-1"))
    if seats is not None:
        return opened
    aside = {str(quota): seats for quota, seats in opened.exam.seats.items()}
    await redis_of(service).hset(opened.shard.key("remaining"), mapping=dict.fromkeys(aside, 0))
    await redis_of(service).hset(opened.shard.key("aside"), mapping=aside)
    left = {f"test/{quota}": seats for quota, seats in aside.items()}
    await redis_of(service).hset(opened.shard.key("aside_left"), mapping=left)
    await redis_of(service).delete(opened.shard.key("returned"))
    await drain(service)
    return opened
