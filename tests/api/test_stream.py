"""The availability as a stream: a snapshot, then what changes, and what came after an event."""

import asyncio

import pytest

from quota_service.api import stream_channel
from quota_service.api.stream_channel import StreamLimits
from quota_service.http.event_stream import Message, Watcher
from quota_service.registration.availability_changes import AvailabilityChange
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.event_streams import PATH, Event, EventStream, has_open, opened, opened_many
from tests.support.exams import SEATS, exam_definition
from tests.support.raw_http import exchange, status
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

pytestmark = pytest.mark.settings(stream_interval_ms=10)
AVAILABILITY = "/v1/exams/exam-1/availability"


def assert_documented(event: Event) -> None:
    """Fail unless the data of an event is as the document describes it."""
    schema = {"snapshot": "Availability", "change": "AvailabilityChange"}
    schema["stale"] = "AvailabilityStale"
    assert Contract().faults(f"/components/schemas/{schema[event.name]}", event.data) == []


class TurnCounter:
    """Counts the turns of the event loop while its block lasts."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self._next = asyncio.get_running_loop().call_soon(self._turn)

    def __exit__(self, *_: object) -> None:
        self._next.cancel()

    def _turn(self) -> None:
        self.count += 1
        self._next = asyncio.get_running_loop().call_soon(self._turn)


async def test_a_watcher_is_told_everything_anew_when_the_definition_has_changed(
    api: ApiClient,
) -> None:
    definition = exam_definition()
    await api.import_exam(definition)
    async with opened(api) as stream:
        first = await stream.next()
        definition["venues"].append({"id": "xian", "title": {"zh": "西安", "en": "Xi'an"}})
        definition["seats"]["xian"] = {"general": 4}
        await api.import_exam(definition)
        second = await stream.next()
        while second.name != "snapshot" or ("xian", "general") not in second.left:
            second = await stream.next()  # its seats come a moment after it

    assert second.data["revision"] > first.data["revision"]
    assert_documented(second)


async def next_snapshot(stream: EventStream) -> Event:
    """Return the next snapshot; seats that go are told before the definition that has none."""
    while (event := await stream.next()).name != "snapshot":
        pass
    return event


async def test_a_stream_of_a_subject_that_is_gone_goes_on_without_it(api: ApiClient) -> None:
    definition = exam_definition()
    await api.import_exam(definition)
    async with opened(api, "?subjects=general,service") as stream, opened(api) as all_of_it:
        await stream.next()
        await all_of_it.next()
        definition["subjects"] = [s for s in definition["subjects"] if s["id"] != "service"]
        definition["seats"] = {
            venue: {name: n for name, n in by_subject.items() if name != "service"}
            for venue, by_subject in definition["seats"].items()
        }
        await api.import_exam(definition)
        told, told_all = await next_snapshot(stream), await next_snapshot(all_of_it)

    assert {subject for _, subject in told.left} == {"general"}
    assert told.data["venues_with_all"] == []
    assert "service" not in {subject for _, subject in told_all.left}


async def test_a_watcher_is_told_everything_and_then_what_changes(api: ApiClient) -> None:
    async with opened(api) as stream:
        first = await stream.next()
        looked = await api.get(AVAILABILITY, key=None)
        await api.reserve("candidate-1", ("general", "qms"), ("jinan",))
        taken = await stream.next()
        headers = stream.response.headers

    assert (first.name, taken.name) == ("snapshot", "change")
    assert {**first.data, "as_of": ""} == {**looked.json, "as_of": ""}
    assert f'W/"{first.id}"' == looked.headers["ETag"]
    assert taken.left == {("jinan", "general"): 2, ("jinan", "qms"): 1}
    assert taken.data["version"] > first.data["version"]
    assert taken.data["as_of"] > first.data["as_of"]
    epoch, _, _ = str(first.id).split("-")
    assert taken.id == f"{epoch}-{taken.data['version']}-{taken.data['revision']}"
    assert "venues_with_all" not in taken.data
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-cache"
    assert stream.retry_ms is not None
    assert_documented(first)
    assert_documented(taken)


async def test_seats_that_come_back_are_told_and_so_are_new_ones(api: ApiClient) -> None:
    more = exam_definition(seats={**SEATS, "beijing": {"general": 4, "service": 1}})

    async with opened(api) as stream:
        first = await stream.next()
        held = await api.reserve("candidate-1")
        taken = await stream.next()
        await api.call("DELETE", f"/v1/reservations/{held.json['id']}")
        given_back = await stream.next()
        await api.import_exam(more)
        # An import changes the definition, which is told as a snapshot, and seats: in any order.
        added = [await stream.next()]
        while not (
            any(event.name == "snapshot" for event in added)
            and added[-1].left.get(("beijing", "general")) == 4
        ):
            added.append(await stream.next())

    assert taken.left == {("jinan", "general"): 2}
    assert given_back.left == {("jinan", "general"): 3}
    for event in added:
        assert event.left in (
            {("beijing", "general"): 4},
            {**first.left, ("beijing", "general"): 4},
            first.left,
        )
    last = [event for event in added if event.name == "snapshot"][-1]
    assert last.data["revision"] > first.data["revision"]
    told = {(q["venue"], q["subject"]): q["capacity"] for q in added[-1].data["quotas"]}
    assert told["beijing", "general"] == 4


async def test_an_exam_with_other_quotas_is_told_whole(api: ApiClient) -> None:
    with_a_venue = exam_definition(seats={**SEATS, "wuhan": {"general": 7}})

    async with opened(api) as stream:
        await stream.next()
        await api.import_exam(with_a_venue)
        told = [await stream.next()]
        while told[-1].left["wuhan", "general"] != 7:  # its seats may come a moment after it
            told.append(await stream.next())

    assert [event.name for event in told] in (["snapshot"], ["snapshot", "change"])
    assert len(told[0].left) == sum(map(len, SEATS.values())) + 1


async def test_the_venues_with_all_are_told_when_they_change(api: ApiClient) -> None:
    async with opened(api, "?subjects=service") as stream:
        first = await stream.next()
        await api.reserve("candidate-1", ("service",), ("beijing",))
        changed = await stream.next()

    assert first.data["venues_with_all"] == ["jinan", "tianjin", "beijing"]
    assert changed.left == {("beijing", "service"): 0}
    assert changed.data["venues_with_all"] == ["jinan", "tianjin"]


async def test_a_filter_hears_of_its_subjects_only(api: ApiClient) -> None:
    async with (
        opened(api, "?subjects=qms,ems") as some,
        opened(api, "?subjects=ems&subjects=qms") as the_same,
        opened(api, "?subjects=general,service,qms,ems") as everything,
    ):
        firsts = [await stream.next() for stream in (some, the_same, everything)]
        await api.reserve("candidate-1", ("general",))
        whole = await everything.next()
        await api.reserve("candidate-2", ("qms",))
        changes = [await stream.next() for stream in (some, the_same)]

    assert {subject for _, subject in firsts[0].left} == {"qms", "ems"}
    assert firsts[0].data == firsts[1].data
    assert whole.left == {("jinan", "general"): 2}
    assert [change.left for change in changes] == [{("jinan", "qms"): 1}] * 2


async def test_who_comes_back_is_told_at_once_what_came_after_the_event_it_names(
    api: ApiClient,
) -> None:
    async with opened(api) as watching:
        first = await watching.next()
        await api.reserve("candidate-1", ("general", "qms"))
        await watching.next()
        await api.reserve("candidate-2", ("general",))
        latest = await watching.next()
        async with opened(api, last_event_id=first.id) as back:
            missed = await back.next()
        async with opened(api, "?subjects=qms", last_event_id=first.id) as back:
            missed_of_some = await back.next()

    assert missed.name == "change"
    assert missed.left == {("jinan", "general"): 1, ("jinan", "qms"): 1}
    assert missed.data["venues_with_all"] == ["jinan"]
    assert missed.id == latest.id
    assert missed_of_some.left == {("jinan", "qms"): 1}
    assert_documented(missed)


async def test_who_has_missed_nothing_is_told_only_what_comes_next(api: ApiClient) -> None:
    async with opened(api) as watching:
        first = await watching.next()
        async with opened(api, last_event_id=first.id) as back:
            await api.reserve()
            told = await back.next()

    assert told.name == "change"
    assert told.left == {("jinan", "general"): 2}


async def test_the_only_watcher_can_leave_and_go_on_where_it_was(running: Running) -> None:
    api = running.client
    async with opened(api) as stream:
        first = await stream.next()
    await eventually(lambda: has_open(running, 0))
    await api.reserve()

    async with opened(api, last_event_id=first.id) as back:
        missed = await back.next()

    assert missed.name == "change"
    assert missed.left == {("jinan", "general"): 2}


@pytest.mark.parametrize("unknown", ["1-0", "0-0", "99-1", "1-999999999999999"])
async def test_an_event_that_is_not_remembered_is_answered_with_a_snapshot(
    api: ApiClient, unknown: str
) -> None:
    async with opened(api, last_event_id=unknown) as stream:
        first = await stream.next()

    assert first.name == "snapshot"
    assert len(first.left) == sum(map(len, SEATS.values()))


@pytest.mark.settings(StreamLimits(changes_max=2), stream_interval_ms=10)
async def test_an_event_that_is_too_old_is_answered_with_a_snapshot(api: ApiClient) -> None:
    async with opened(api) as watching:
        events = [await watching.next()]
        for i in range(2):
            await api.reserve(f"candidate-{i}")
            events.append(await watching.next())
        async with opened(api, last_event_id=events[0].id) as back:
            too_old = await back.next()
        async with opened(api, last_event_id=events[1].id) as back:
            remembered = await back.next()

    assert (too_old.name, remembered.name) == ("snapshot", "change")


@pytest.mark.parametrize("empty", ["", " "])
async def test_an_event_id_without_a_value_is_none(running: Running, empty: str) -> None:
    async with opened(running.client, last_event_id=empty) as stream:
        first = await stream.next()

    assert first.name == "snapshot"


@pytest.mark.parametrize(
    "malformed",
    ["1", "1-", "-1", "1-2-3-4", "a-b", "1-٣", "1 - 2", 'W/"1-2"', "1" * 16 + "-1", "\xff"],
)
async def test_a_malformed_event_id_is_refused_and_takes_no_place(
    running: Running, nothing_changes: NothingChanges, malformed: str
) -> None:
    async with nothing_changes():
        reply = await running.client.get(PATH, key=None, headers={"Last-Event-ID": malformed})

    assert_refused(reply, 422, "last-event-id-malformed", "Last-Event-ID")
    assert await has_open(running, 0)


@pytest.mark.parametrize(
    ("path", "code", "slug"),
    [
        (PATH.replace("exam-1", "exam-9"), 404, "unknown-exam"),
        (f"{PATH}?subjects=alchemy", 422, "unknown-subject"),
        (f"{PATH}?subjects=", 422, "unknown-subject"),
        (f"{PATH}?colour=red", 422, "invalid-request"),
        (f"{PATH}/", 404, "not-found"),
    ],
)
async def test_a_stream_of_nothing_is_refused_as_its_availability_is(
    running: Running, path: str, code: int, slug: str
) -> None:
    refused = await running.client.get(path, key=None)
    asked_for_head = await running.client.call("HEAD", path, key=None)

    assert (refused.status, refused.slug) == (code, slug)
    assert asked_for_head.status == code
    assert await has_open(running, 0)


async def test_head_is_answered_at_once_and_takes_no_place(running: Running) -> None:
    reply = await running.client.call("HEAD", PATH, key=None)

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert reply.headers["X-Request-ID"]
    assert await has_open(running, 0)


async def test_it_cannot_be_written_to(api: ApiClient) -> None:
    reply = await api.call("POST", PATH, json={})

    assert_refused(reply, 405, "method-not-allowed")


@pytest.mark.settings(StreamLimits(life_s=0.05, retry_ms=1000), stream_interval_ms=10)
async def test_a_stream_ends_by_itself_and_says_when_to_come_back(api: ApiClient) -> None:
    async with opened(api) as stream:
        events = await stream.rest()

    assert [event.name for event in events] == ["snapshot"]
    assert stream.retry_ms is not None
    assert 500 <= stream.retry_ms <= 1500
    assert stream.response.headers["Connection"] == "close"


@pytest.mark.settings(StreamLimits(life_s=0.05), stream_interval_ms=10)
async def test_a_proxy_that_speaks_http_1_0_gets_the_events_without_chunks(api: ApiClient) -> None:
    answer = await exchange(api.url, f"GET {PATH} HTTP/1.0\r\nHost: quota\r\n\r\n".encode())

    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == 200
    assert b"chunked" not in head
    assert body.startswith(b"retry: ")
    assert body.partition(b"\n\n")[2].startswith(b"event: snapshot\nid: ")
    assert body.endswith(b"}\n\n")


@pytest.mark.settings(stream_interval_ms=10, stream_heartbeat_s=0.02)
async def test_a_quiet_stream_has_heartbeats_and_a_change_between_them(api: ApiClient) -> None:
    async with opened(api) as stream:
        await stream.next()
        await stream.heartbeat()
        await stream.heartbeat()
        await api.reserve()
        changed = await stream.next()

    assert changed.left == {("jinan", "general"): 2}


@pytest.mark.settings(StreamLimits(writes_per_turn_max=7), stream_interval_ms=10)
async def test_a_crowd_costs_one_rendering_and_is_written_to_in_slices(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderings: list[AvailabilityChange] = []
    writes: list[int] = []
    turns = TurnCounter()
    render, tell = stream_channel.change_message, Watcher.tell

    def rendering(change: AvailabilityChange, subjects: stream_channel.Subjects) -> Message | None:
        renderings.append(change)
        return render(change, subjects)

    def telling(watcher: Watcher, message: Message) -> None:
        writes.append(turns.count)
        tell(watcher, message)

    async with opened_many(running.client, 40) as streams:
        for stream in streams:
            await stream.next()
        monkeypatch.setattr(stream_channel, "change_message", rendering)
        monkeypatch.setattr(Watcher, "tell", telling)
        with turns:
            await running.client.reserve()
            changes = [await stream.next() for stream in streams]

    assert len({str(change.data) for change in changes}) == 1
    assert len(renderings) == 1
    assert len(writes) == 40
    assert max(writes.count(turn) for turn in writes) == 7
