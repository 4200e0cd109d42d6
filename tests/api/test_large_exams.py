"""A large exam that many look at, or one client in many ways, costs others nothing they notice."""

import itertools
from typing import Any

import pytest
import redis.asyncio

from quota_service.api import rendered
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam, Quota
from quota_service.registration.import_exam import import_exam
from quota_service.registration.reserve import Order, reserve
from tests.conftest import Running
from tests.support.exams import exam_definition
from tests.support.waiting import eventually

PATH = "/v1/exams/large/availability"
SUBJECTS = tuple(f"subject-{i:02}" for i in range(30))
VENUES = tuple(f"venue-{i:02}" for i in range(20))


def large_definition() -> dict[str, Any]:
    """Return an exam of 600 quotas, some of them without seats, one of them not offered."""
    seats = {
        venue: {subject: (i + n) % 3 for n, subject in enumerate(SUBJECTS)}
        for i, venue in enumerate(VENUES)
    }
    del seats[VENUES[1]][SUBJECTS[1]]
    definition = exam_definition("large", seats=seats)
    session = definition["sessions"][0]["id"]
    definition["subjects"] = [
        {"id": subject, "title": {"zh": "科目", "en": subject}, "session": session}
        for subject in SUBJECTS
    ]
    return definition


@pytest.fixture
async def large(running: Running) -> Exam:
    exam = parse_exam(large_definition())
    await import_exam(running.service.stores.maintenance, exam)
    return exam


def expected(exam: Exam, taken: dict[Quota, int], wanted: set[str]) -> tuple[list[Any], list[str]]:
    """Return the quotas and the venues with all that an availability has to tell."""
    left = {quota: seats - taken.get(quota, 0) for quota, seats in exam.seats.items()}
    quotas = [
        {
            "venue": venue.id,
            "subject": subject.id,
            "remaining": left[Quota(venue.id, subject.id)],
            "capacity": exam.seats[Quota(venue.id, subject.id)],
        }
        for venue in exam.venues
        for subject in exam.subjects
        if subject.id in wanted and Quota(venue.id, subject.id) in left
    ]
    with_all = [
        venue.id
        for venue in exam.venues
        if all(left.get(Quota(venue.id, subject), 0) > 0 for subject in wanted)
    ]
    return quotas, with_all


async def test_bodies_that_are_put_together_tell_what_stands_with_and_without_a_filter(
    running: Running, large: Exam
) -> None:
    api, filters = running.client, ((), SUBJECTS[1:3], SUBJECTS[:1], SUBJECTS[2:0:-1], SUBJECTS)
    order = Order("candidate-1", (SUBJECTS[2],), (VENUES[0],), accepted_notice=True)
    taken: dict[Quota, int] = {}

    async def check() -> bool:
        for asked in filters:
            query = f"?subjects={','.join(asked)}" if asked else ""
            document = (await api.get(f"{PATH}{query}", key=None)).json
            told = document["quotas"], document["venues_with_all"]
            assert list(document) == [
                "exam",
                "version",
                "revision",
                "as_of",
                "quotas",
                "venues_with_all",
            ]
            if told != expected(large, taken, set(asked or SUBJECTS)):
                return False
        return True

    assert await check()
    await reserve(running.service.stores.reservations, "large", order, "key-1", None)
    taken[Quota(VENUES[0], SUBJECTS[2])] = 1
    await eventually(check)


@pytest.mark.usefixtures("large")
async def test_while_nothing_changes_no_quota_is_read_and_the_time_of_the_look_goes_on(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async def reads() -> int:
        stats = await redis_client.info("commandstats")
        names = ("cmdstat_hscan", "cmdstat_hgetall", "cmdstat_hmget")
        return sum(int(stats.get(name, {"calls": 0})["calls"]) for name in names)

    first = (await running.client.get(PATH, key=None)).json
    before = await reads()

    async def is_later() -> bool:
        return bool((await running.client.get(PATH, key=None)).json["as_of"] > first["as_of"])

    await eventually(is_later)
    assert await reads() == before
    last = (await running.client.get(PATH, key=None)).json
    assert (last["version"], last["quotas"]) == (first["version"], first["quotas"])


@pytest.mark.settings(availability_refresh_ms=3_600_000)
async def test_a_filter_that_nobody_has_asked_for_renders_no_quota_anew(
    running: Running, large: Exam, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    render = rendered.quota_json

    def rendering(quota: Any) -> bytes:
        made.append(quota)
        return render(quota)

    monkeypatch.setattr(rendered, "quota_json", rendering)
    bodies = [
        (await running.client.get(f"{PATH}?subjects={one},{other}", key=None)).body
        for one, other in itertools.pairwise(SUBJECTS)
    ]

    assert len(set(bodies)) == len(SUBJECTS) - 1
    assert len(made) == len(large.seats)


@pytest.mark.usefixtures("large")
@pytest.mark.settings(availability_refresh_ms=3_600_000)
async def test_of_the_bodies_with_a_filter_those_used_last_are_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[frozenset[str] | None] = []
    put_together = rendered.put_together

    def putting(exam: Any, availability: Any, wanted: frozenset[str] | None) -> bytes:
        made.append(wanted)
        return put_together(exam, availability, wanted)

    async def look(subject: str) -> int:
        return len((await running.client.get(f"{PATH}?subjects={subject}", key=None)).body)

    size = await look(SUBJECTS[0])
    monkeypatch.setattr(rendered, "KEPT_MAX_BYTES", 3 * size + size // 2)
    monkeypatch.setattr(rendered, "put_together", putting)

    for subject in (*SUBJECTS[1:5], *SUBJECTS[2:5], SUBJECTS[0]):
        await look(subject)

    assert made == [frozenset({SUBJECTS[i]}) for i in (1, 2, 3, 4, 0)]


@pytest.mark.usefixtures("large")
@pytest.mark.settings(availability_refresh_ms=3_600_000)
async def test_filters_that_nobody_asked_for_lately_have_a_share_of_the_time(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered, "QUOTAS_PER_MS", 1e-5)  # each takes hours of the share

    async def look(*subjects: str) -> tuple[int, str | None]:
        query = f"?subjects={','.join(subjects)}" if subjects else ""
        reply = await running.client.get(f"{PATH}{query}", key=None)
        return reply.status, reply.json.get("type")

    await look()
    first = await look(SUBJECTS[0])
    new = await look(SUBJECTS[2], SUBJECTS[3])
    known = [await look(SUBJECTS[0]), await look()]

    assert first == (200, None)
    assert new == (503, "/problems/overloaded")
    assert known == [(200, None)] * 2
