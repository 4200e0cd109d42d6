"""Waiting rooms for tests: exams that have one, and admission moved by hand."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam
from quota_service.registration.import_exam import import_exam
from quota_service.registration.waiting_room import join
from quota_service.settings import Settings
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK, Room
from tests.support.exams import exam_definition

RULES: dict[str, Any] = {"rate_per_s": 20, "pass_ttl_s": 600, "idle_s": 300, "claim_grace_s": 300}


def room_definition(
    exam_id: str = "exam-1", rules: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Return the definition of an exam with a waiting room."""
    return {**exam_definition(exam_id, **changes), "waiting_room": {**RULES, **(rules or {})}}


def room_exam(exam_id: str = "exam-1", rules: dict[str, Any] | None = None, **changes: Any) -> Exam:
    """Return an exam with a waiting room."""
    return parse_exam(room_definition(exam_id, rules, **changes))


async def open_room(service: Service, *, opens_in_s: float = 3600, **changes: Any) -> None:
    """Give the test exam a waiting room; unless told it opens in an hour."""
    await import_exam(
        service.stores.maintenance, room_exam(opens_in_s=opens_in_s, closes_in_s=7200, **changes)
    )


@asynccontextmanager
async def process_beside(
    settings: Settings, *failpoint: Callable[[str], None]
) -> AsyncIterator[Service]:
    """Another process on these stores, which has looked at the exams and their rooms."""
    async with open_service(settings, *failpoint) as opened:
        await refresh_memory(opened)
        await opened.stores.waiting_room.rooms.refresh()
        yield opened


async def number(service: Service, candidate: str) -> int:
    """Have somebody join the room, whose draw is over, and return the number they are given."""
    return (await join(service.stores.waiting_room, "exam-1", candidate)).ticket.place


async def stored(service: Service) -> Any:
    """Return the row of the room as Postgres has it."""
    return (await service.stores.maintenance.waiting_rooms.all())["exam-1"]


async def let_open(service: Service, exam: str = "exam-1") -> None:
    """Let the registration of an exam have opened a moment ago, as the clock would."""
    known = service.stores.registry.find(exam)
    window = dataclasses.replace(
        known.registration, opens_at_ms=service.stores.waiting_room.rooms.now_ms() - 1000
    )
    await import_exam(service.stores.maintenance, dataclasses.replace(known, registration=window))


async def admit(service: Service, exam: str = "exam-1", **position: Any) -> None:
    """Move admission on as its leader would: columns of the room by name."""
    columns = ", ".join(f"{name} = ${i}" for i, name in enumerate(position, start=2))
    async with service.stores.ledger.connection() as connection:
        statement = f"UPDATE waiting_rooms SET {columns} WHERE exam = $1"  # noqa: S608
        await connection.execute(statement, exam, *position.values())
    await service.stores.waiting_room.rooms.refresh()


async def admit_draw(service: Service, exam: str = "exam-1") -> None:
    """Let all of the draw have had their turn."""
    await admit(service, exam, threshold=LAST_RANK)


def make_room(**changes: Any) -> Room:
    """Return a room as it is when it is made."""
    room = Room(
        exam="exam-1",
        seed=bytes(range(32)),
        ticket_key=b"t" * 32,
        pass_key=b"p" * 32,
        threshold=FIRST_RANK,
        late_threshold=FIRST_RANK,
        serving=0,
        late_through=0,
        numbers_reserved=0,
        drawn=0,
        rate=20.0,
        fixed_rate=None,
        is_paused=False,
        leader=None,
        leader_epoch=0,
        lease_until_ms=None,
        stepped_ms=None,
        opened_ms=None,
        created_ms=0,
    )
    return dataclasses.replace(room, **changes)
