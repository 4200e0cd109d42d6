"""A waiting room as its leader meets it: who waits, who is inside, what processes report."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam, Window
from quota_service.registration.admit import Admission, AdmissionLimits
from quota_service.registration.import_exam import import_exam
from quota_service.seats.keys import Shard
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.signals import Signals
from tests.support.exams import exam_definition
from tests.support.records import redis_now_ms
from tests.support.redis_clients import redis_of

CALM = Signals(
    requests=100,
    failures=0,
    reserve_p99_ms=None,
    redis_p99_ms=None,
    pool_wait_p99_ms=None,
    backlog=0,
)
BUSY = dataclasses.replace(CALM, reserve_p99_ms=400)


@dataclass(slots=True)
class RoomUnderTest:
    """The room of an exam, whose clock is moved by the test.

    Steps make up for two intervals at most. With an interval of half a second, one that is due for
    long makes up for a second exactly, however slow the machine is. A calm room's rate rises by a
    twentieth in it.
    """

    service: Service
    exam: Exam
    leader: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.leader = self.another_leader()

    @property
    def shard(self) -> Shard:
        return self.service.stores.registry.shard(self.exam.id)

    def another_leader(self, **limits: Any) -> Admission:
        """Return the admission of another process."""
        limits = {"interval_s": 0.5, "rise_max": 0.05, **limits}
        changed = self.service.settings.with_limits(AdmissionLimits(**limits))
        return Admission(self.service.stores.waiting_room, changed)

    async def move(self, registration: Window) -> None:
        """Give the exam another window, in the definition that is in force from now on."""
        exam = dataclasses.replace(self.exam, registration=registration)
        await import_exam(self.service.stores.maintenance, exam)
        self.exam = self.service.stores.registry.find(exam.id)

    async def queue(self, numbers: int) -> None:
        """Let so many numbers be handed out."""
        await self.execute(
            "UPDATE waiting_rooms SET numbers_reserved = $2 WHERE exam = $1", numbers
        )
        fields = {"epoch": self.shard.epoch, "last": numbers, "limit": numbers}
        await redis_of(self.service).hset(self.shard.key("room"), mapping=fields)

    async def join_draw(self, candidates: int) -> None:
        """Let so many candidates be in the draw."""
        names = [f"candidate-{n}" for n in range(candidates)]
        await redis_of(self.service).pfadd(self.shard.key("drawn"), *names)

    async def enter(self, candidates: int, *, idle_in_ms: int = 600_000) -> None:
        """Let so many candidates have claimed a place that is free again after a while."""
        client = redis_of(self.service)
        free_ms = await redis_now_ms(client) + idle_in_ms
        names = [f"inside-{n}" for n in range(candidates)]
        await client.zadd(self.shard.key("places"), dict.fromkeys(names, free_ms))
        await client.hset(self.shard.key("passes"), mapping=dict.fromkeys(names, "1|1|1"))
        await client.hincrby(self.shard.key("room"), "claims", candidates)

    async def report(self, signals: Signals = CALM, process: str = "process-1") -> None:
        """Let a process report."""
        await self.service.stores.waiting_room.room_statistics.report(self.shard, process, signals)

    async def fall_silent(self, ago_ms: int) -> None:
        """Let every report be that much older."""
        client, key = redis_of(self.service), self.shard.key("signals")
        for process, text in (await client.hgetall(key)).items():
            at_ms, _, report = text.partition("|")
            await client.hset(key, process, f"{int(at_ms) - ago_ms}|{report}")

    async def second(
        self, leader: Admission | None = None, *, signals: Signals | None = CALM
    ) -> float:
        """Let a second go by since the last step, have a report, and take the next step."""
        await self.pass_time(1)
        if signals is not None:
            await self.report(signals)
        return await (leader or self.leader).admit(self.exam)

    async def pass_time(self, seconds: float) -> None:
        """Let the last step be that much longer ago."""
        await self.execute(
            "UPDATE waiting_rooms SET stepped_at = stepped_at - make_interval(secs => $2)"
            " WHERE exam = $1",
            seconds,
        )

    async def end_lease(self) -> None:
        """Let the lease of whoever leads be over."""
        await self.execute(
            "UPDATE waiting_rooms SET lease_until = now() - interval '1 ms' WHERE exam = $1"
        )

    async def room(self) -> Room:
        """Return the room as Postgres has it."""
        return (await self.service.stores.maintenance.waiting_rooms.all())[self.exam.id]

    async def steps(self) -> list[tuple[int, int]]:
        """Return (serving, healthy time in ms) of each step that is kept, oldest first."""
        async with self.service.stores.ledger.connection() as connection:
            rows = await connection.fetch(
                "SELECT serving, healthy_ms FROM waiting_room_steps WHERE exam = $1 ORDER BY step",
                self.exam.id,
            )
        return [(row["serving"], row["healthy_ms"]) for row in rows]

    async def execute(self, statement: str, *args: Any) -> None:
        """Run a statement for the exam, which is $1."""
        async with self.service.stores.ledger.connection() as connection:
            await connection.execute(statement, self.exam.id, *args)

    def gauge(self, name: str) -> float | None:
        """Return a metric of the exam's room."""
        sample = self.service.metrics.registry.get_sample_value
        return sample(f"quota_waiting_room_{name}", {"exam": self.exam.id})


def room_definition(
    exam_id: str = "exam-2", *, opens_in_s: float = -3600, **rules: float
) -> dict[str, Any]:
    """Return the definition of an exam with a waiting room."""
    return exam_definition(exam_id, opens_in_s=opens_in_s, closes_in_s=7200) | {
        "waiting_room": rules
    }


async def open_room(
    service: Service,
    exam_id: str = "exam-2",
    *,
    draw: bool = False,
    opens_in_s: float = -3600,
    **rules: float,
) -> RoomUnderTest:
    """Import an exam whose room has a queue alone, or its draw before it, and return the room."""
    rules = {"rate_per_s": 10, "rate_min_per_s": 1, "rate_max_per_s": 100} | rules
    if draw:  # made before the opening, which then comes
        earlier = room_definition(exam_id, opens_in_s=3600, **rules)
        await import_exam(service.stores.maintenance, parse_exam(earlier))
    exam = parse_exam(room_definition(exam_id, opens_in_s=opens_in_s, **rules))
    await import_exam(service.stores.maintenance, exam)
    return RoomUnderTest(service, service.stores.registry.find(exam.id))
