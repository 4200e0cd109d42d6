"""The test exam with changes that move what was reserved, and short words for an order of it."""

from typing import Any

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation
from quota_service.registration.reserve import Order, reserve
from tests.support.exams import SEATS, exam_definition
from tests.support.records import move_due_into_the_past
from tests.support.redis_clients import redis_of

DEFINITION = exam_definition()
"""Made once, so that its times stay the same from import to import."""


def exam(**changes: Any) -> Exam:
    return parse_exam({**DEFINITION, **changes})


def moved(subject: str, session: str) -> Exam:
    """Return the test exam with a subject in another session."""
    subjects = [
        {**each, "session": session} if each["id"] == subject else each
        for each in DEFINITION["subjects"]
    ]
    return exam(subjects=subjects)


def with_venue(venue: str, **others: dict[str, int]) -> Exam:
    """Return the test exam with one more venue, and the seats of others as given."""
    added = {"id": venue, "title": {"zh": venue, "en": venue}}
    seats = {**SEATS, venue: {"general": 1}, **others}
    return exam(venues=[*DEFINITION["venues"], added], seats=seats)


async def book(
    service: Service,
    subject: str = "general",
    venue: str = "jinan",
    key: str = "key-1",
    **more: Any,
) -> Reservation:
    order = Order("candidate-1", (subject,), (venue,), **{"accepted_notice": True, **more})
    return (await reserve(service.stores.reservations, "exam-1", order, key)).reservation


async def expire_now(service: Service, held: Reservation) -> None:
    """Let a hold expire."""
    await move_due_into_the_past(redis_of(service), held.id)
    shard, serial = service.stores.registry.locate(held.id)
    assert (await service.stores.seats.expire(shard, [serial]))[0] == 1
