"""Events as a stream for ops: as they come, from where a reader was, and for whom."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from quota_service.api.event_models import schema_name
from quota_service.api.events import EventFeedLimits
from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.event import EventKind
from quota_service.ledger.api_keys import Scope, split_key
from quota_service.ledger.events import EventLedger
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.event_streams import EventStream, opened
from tests.support.refusals import assert_refused
from tests.support.told_events import told
from tests.support.waiting import eventually

PATH = "/v1/events"
BRISK = EventFeedLimits(interval_s=0.01, look_s=0.01, streams_max=2, page_max=3, kept_max=4)
pytestmark = pytest.mark.settings(BRISK)


@asynccontextmanager
async def watched(
    api: ApiClient, query: str = "", after: object = None, key: str = ""
) -> AsyncIterator[EventStream]:
    seen = None if after is None else str(after)
    headers = {"Authorization": f"Bearer {key or api.ops_key}"}
    async with opened(api, query, last_event_id=seen, path=PATH, headers=headers) as stream:
        yield stream


async def test_what_happens_is_told_as_webhooks_tell_it(running: Running) -> None:
    await running.client.reserve("before")
    await told(running.service)
    async with watched(running.client) as stream:
        reservation = (await running.client.reserve("candidate-1")).json
        await running.client.pay(reservation)
        (held, confirmed) = (await told(running.service))[1:]

        first, second = await stream.next(), await stream.next()

    assert stream.retry_ms is not None
    assert (first.name, first.id) == ("reservation.held", str(held.sequence))
    assert (second.name, second.id) == ("reservation.confirmed", "3")
    assert [first.data, second.data] == [json.loads(held.body), json.loads(confirmed.body)]
    assert first.data["data"]["deadline"] == reservation["deadline"]


@pytest.mark.parametrize("form", ["{}", "evt_{}"])
async def test_a_stream_goes_on_where_its_reader_was_page_by_page(
    running: Running, form: str
) -> None:
    for n in range(5):
        await running.client.reserve(f"candidate-{n}", venues=("jinan", "tianjin"))
    before = len(await told(running.service))
    async with watched(running.client, after=form.format(2)) as stream:
        found = [await stream.next() for _ in range(before - 2)]
        await running.client.reserve("candidate-9", venues=("tianjin",))
        await told(running.service)
        found.append(await stream.next())

    assert [event.id for event in found] == [str(n) for n in range(3, before + 2)]


async def test_a_stream_is_of_an_exam_and_of_kinds_if_these_are_asked_for(running: Running) -> None:
    kinds = "kinds=reservation.confirmed,payment.unreadable"
    async with (
        watched(running.client, f"?{kinds}") as of_all,
        watched(running.client, f"?exam=exam-1&{kinds}") as of_one,
    ):
        await running.service.stores.payments.unreadable.keep("event-1", b"{", "not JSON")
        await running.client.pay((await running.client.reserve("candidate-1")).json)
        await told(running.service)

        all_found = {(await of_all.next()).name for _ in range(2)}
        one_found = await of_one.next()

    assert all_found == {"reservation.confirmed", "payment.unreadable"}
    assert one_found.name == "reservation.confirmed"


async def test_each_kind_is_as_the_document_describes_it(running: Running) -> None:
    contract = Contract()
    kinds = {f"/components/schemas/{schema_name(kind)}" for kind in EventKind}

    reservation = (await running.client.reserve("candidate-1")).json
    await running.client.pay(reservation)
    await running.service.stores.payments.unreadable.keep("event-1", b"{", "not JSON")

    for event in await told(running.service):
        schema = f"/components/schemas/{schema_name(event.kind)}"
        assert schema in kinds
        assert contract.faults(schema, json.loads(event.body)) == []
        assert contract.faults("/components/schemas/Event", json.loads(event.body)) == []


async def test_only_ops_see_events_and_a_key_of_one_exam_sees_those_of_it(running: Running) -> None:
    api = running.client
    bound = await running.service.key_ledger.create(
        "bound", frozenset({Scope.OPS}), exams=["exam-1"]
    )
    await running.service.context.keys.refresh()
    await api.reserve("candidate-1")
    await running.service.stores.payments.unreadable.keep("event-1", b"{", "not JSON")
    await told(running.service)

    assert_refused(await api.get(PATH, key=None), 401, "unauthorized")
    assert_refused(await api.get(PATH), 403, "forbidden")
    assert_refused(await api.get(PATH, key=bound), 403, "forbidden")
    async with watched(api, "?exam=exam-1", after=0, key=bound) as stream:
        assert (await stream.next()).data["data"]["exam"] == "exam-1"


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("?exam=nowhere", 404, "unknown-exam"),
        ("?kinds=reservation.lost", 422, "invalid-request"),
        ("?sort=up", 422, "invalid-request"),
    ],
)
async def test_what_is_wrong_is_answered_before_anything_is_sent(
    api: ApiClient, query: str, status: int, slug: str
) -> None:
    assert_refused(await api.get(f"{PATH}{query}", key=api.ops_key), status, slug)


async def test_a_last_event_id_of_another_form_is_refused(api: ApiClient) -> None:
    for wrong in ("1-42", "evt_", "-1", "1" * 19):
        headers = {"Last-Event-ID": wrong}
        refused = await api.get(PATH, key=api.ops_key, headers=headers)
        assert_refused(refused, 422, "last-event-id-malformed")


async def test_a_number_that_was_not_given_yet_begins_now(running: Running) -> None:
    """Postgres was set back to an earlier state: the reader must not wait for that number."""
    async with watched(running.client, after=1000) as stream:
        await running.client.reserve("candidate-1")
        await told(running.service)
        assert (await stream.next()).id == "1"


async def test_who_asks_for_events_that_are_gone_is_told_so(running: Running) -> None:
    for n in range(3):
        await running.client.reserve(f"candidate-{n}")
    await told(running.service)
    async with running.service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE events SET created_at = now() - interval '31 days'")
    await running.service.stores.maintenance.events.prune(30, 100)

    async with watched(running.client, after=1) as stream:
        missed, third = await stream.next(), await stream.next()
    async with watched(running.client, after=2) as stream:
        assert (await stream.next()).id == "3"

    assert (missed.name, missed.id, missed.data) == ("missed", None, {"after": "1", "before": "3"})
    assert third.id == "3"


async def test_streams_are_bounded_and_end_with_their_key(running: Running) -> None:
    api, service = running.client, running.service
    key = await service.key_ledger.create("another", frozenset({Scope.OPS}))
    await service.context.keys.refresh()
    async with AsyncExitStack() as stack:
        stream = await stack.enter_async_context(watched(api, key=key))
        await stack.enter_async_context(watched(api))
        assert_refused(await api.get(PATH, key=api.ops_key), 503, "overloaded")

        (key_id, _) = split_key(key) or ("", "")
        await service.key_ledger.revoke(key_id)
        await service.context.keys.refresh()
        assert await stream.rest() == []

        async with watched(api):
            pass


@pytest.mark.settings(BRISK, stream_heartbeat_s=1)
async def test_a_quiet_stream_says_how_far_it_is(running: Running) -> None:
    async with watched(running.client, "?kinds=exam.paused") as stream:
        begun = await id_line(stream)
        await running.client.reserve("candidate-1")
        await told(running.service)
        quiet = await id_line(stream)

    assert (begun, quiet) == (b"id: 0\n", b"id: 1\n")


async def id_line(stream: EventStream) -> bytes:
    line = b""
    while not line.startswith(b"id: "):
        line = await stream.response.content.readline()
    return line


async def test_a_stream_outlives_a_postgres_that_is_away(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def away(*_: object) -> None:
        nonlocal asked
        asked += 1
        raise LedgerUnavailable("postgres is away")

    async def was_asked() -> bool:
        return asked > 1

    async with watched(running.client) as stream:
        with monkeypatch.context() as patched:
            patched.setattr(EventLedger, "page", away)
            await eventually(was_asked)
        await running.client.reserve("candidate-1")
        await told(running.service)

        assert (await stream.next()).id == "1"
