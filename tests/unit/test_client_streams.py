"""The client's streams: read piece by piece, and opened again where they were left."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from quota_service.client import NoAnswer, QuotaClient, Repeats
from quota_service.client.problems import UnknownExam
from quota_service.client.streams import EventReader, with_change
from tests.support.told_service import ToldService, broken, problem, stream, told_service

AT_ONCE = Repeats(pause_s=0.0, pause_max_s=0.0)
FIRST = 'retry: 0\n\nevent: snapshot\nid: 1-2\ndata: {"version": 2}\n\n:\n\n'
SECOND = 'event: change\nid: 1-3\ndata: {"version": 3}\n\nevent: stale\ndata: {}\n\n'


@pytest.fixture
async def told() -> AsyncIterator[ToldService]:
    async with told_service() as service:
        yield service


@pytest.mark.parametrize("between", [[], [broken], [problem("overloaded", 503, part="service")]])
async def test_a_stream_that_ended_goes_on_after_the_last_event(
    told: ToldService, between: list[object]
) -> None:
    told.answers = [stream(FIRST), *between, stream(SECOND)]  # type: ignore[list-item]
    events = []

    async with (
        QuotaClient(told.url, repeats=AT_ONCE) as client,
        aclosing(client.availability_stream("exam-1", subjects=["qms"])) as seats,
    ):
        async for event in seats:
            events.append(event)
            if len(events) == 3:
                break

    assert events == [
        {"event": "snapshot", "id": "1-2", "data": {"version": 2}},
        {"event": "change", "id": "1-3", "data": {"version": 3}},
        {"event": "stale", "data": {}},
    ]
    assert {asked.path for asked in told.asked} == {
        "/v1/exams/exam-1/availability/stream?subjects=qms"
    }
    assert "Last-Event-ID" not in told.asked[0].headers
    assert told.asked[-1].headers["Last-Event-ID"] == "1-2"


async def test_events_have_the_ids_that_webhooks_have_and_go_on_behind_a_heartbeat(
    told: ToldService,
) -> None:
    told.answers = [
        stream('retry: 0\n\nevent: missed\ndata: {"after": "3", "before": "7"}\n\n:\nid: 7\n\n'),
        stream('event: exam.paused\nid: 8\ndata: {"type": "exam.paused"}\n\n'),
    ]

    async with (
        QuotaClient(told.url, repeats=AT_ONCE) as client,
        aclosing(client.events(exam="exam-1", kinds=["exam.paused"], after="evt_3")) as events,
    ):
        missed, paused = await anext(events), await anext(events)

    assert missed == {"type": "missed", "data": {"after": "3", "before": "7"}}
    assert paused == {"id": "evt_8", "type": "exam.paused"}
    assert [asked.headers["Last-Event-ID"] for asked in told.asked] == ["evt_3", "7"]
    assert {asked.path for asked in told.asked} == {"/v1/events?exam=exam-1&kinds=exam.paused"}


async def test_a_refusal_ends_a_stream(told: ToldService) -> None:
    told.answers = [problem("unknown-exam", 404)]

    async with QuotaClient(told.url, repeats=AT_ONCE) as client:
        with pytest.raises(UnknownExam):
            await anext(client.availability_stream("exam-1"))


def test_events_are_read_whole_however_they_come() -> None:
    reader = EventReader()

    events = [event for byte in (FIRST + SECOND).encode() for event in reader.read(bytes([byte]))]

    assert [(event.name, event.id) for event in events] == [
        ("snapshot", "1-2"),
        ("change", "1-3"),
        ("stale", ""),
    ]
    assert reader.retry_s == 0


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quota_service.client.streams.EVENT_MAX_BYTES", 8)

    with pytest.raises(NoAnswer, match="more than 8 bytes"):
        EventReader().read(b"data: 123")


def test_a_change_is_set_in_what_is_known() -> None:
    known = {
        "exam": "exam-1",
        "version": 1,
        "revision": 1,
        "as_of": "before",
        "quotas": [quota("jinan", 3), quota("beijing", 2)],
        "venues_with_all": ["jinan"],
    }
    change = {
        "exam": "exam-1",
        "version": 2,
        "revision": 1,
        "as_of": "now",
        "quotas": [quota("jinan", 0)],
    }

    left = with_change(known, change)  # type: ignore[arg-type]

    assert left == {
        **known,
        "version": 2,
        "as_of": "now",
        "quotas": [quota("jinan", 0), quota("beijing", 2)],
    }


def quota(venue: str, remaining: int) -> dict[str, object]:
    return {"venue": venue, "subject": "general", "remaining": remaining, "capacity": 3}
