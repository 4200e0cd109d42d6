"""The typed client against a real service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import ModuleType
from typing import Any

import pytest

import quota_service.client
from quota_service.client import QuotaClient, room, streams
from quota_service.client.documents import Availability
from quota_service.client.problems import Forbidden, SoldOut, Unauthorized
from quota_service.client.streams import with_change
from tests.conftest import Running
from tests.support.client import PAYMENT_SECRETS, ApiClient
from tests.support.patience import LIMIT_S
from tests.support.rooms import admit, admit_draw, let_open
from tests.support.told_events import told


@pytest.fixture
async def client(running: Running) -> AsyncIterator[QuotaClient]:
    async with QuotaClient(running.client.url, key=running.client.frontend_key) as client:
        yield client


@pytest.fixture
async def ops(running: Running) -> AsyncIterator[QuotaClient]:
    async with QuotaClient(running.client.url, key=running.client.ops_key) as client:
        yield client


async def reserve(client: QuotaClient, candidate: str) -> str:
    held = await client.reserve(
        "exam-1",
        candidate=candidate,
        subjects=["general", "qms"],
        venues=["jinan"],
        accepted_notice=(await client.get_exam("exam-1"))["notice"]["version"],
    )
    return held["id"]


async def test_a_candidate_reserves_pays_and_is_confirmed(
    api: ApiClient, client: QuotaClient
) -> None:
    held = await reserve(client, "c-1")
    shown = await client.checkout(held)

    paid = await client.report_payment(
        "evt-1",
        {
            "reservation": held,
            "status": "captured",
            "amount": shown["amount"],
            "currency": shown["currency"],
            "paid_at": shown["created_at"],
            "provider_reference": "bank-1",
        },
        secret=PAYMENT_SECRETS,
    )

    assert (shown["state"], shown["amount"], paid["outcome"]) == ("held", 16000, "confirmed")
    assert (await client.get_reservation(held))["state"] == "confirmed"
    seen = await client.get_candidate("exam-1", "c-1")
    assert [each["state"] for each in seen["reservations"]] == ["confirmed"]
    assert await api.remaining("jinan", "qms") == 1


async def test_a_refusal_is_an_exception_with_its_members(client: QuotaClient) -> None:
    for candidate in ("c-1", "c-2"):
        await reserve(client, candidate)

    with pytest.raises(SoldOut) as refused:
        await reserve(client, "c-3")

    assert [(left["subject"], left["remaining"]) for left in refused.value.left] == [
        ("general", 1),
        ("qms", 0),
    ]
    assert refused.value.request_id


async def test_a_caller_without_a_key_is_refused(running: Running) -> None:
    async with QuotaClient(running.client.url) as nobody:
        with pytest.raises(Unauthorized):
            await nobody.get_candidate("exam-1", "c-1")


async def test_a_token_calls_for_its_candidate_alone(client: QuotaClient) -> None:
    made = await client.create_candidate_token(exam="exam-1", candidate="c-1", ttl_s=60)
    own = client.for_candidate(made["token"])

    held = await reserve(own, "c-1")

    assert (await own.get_reservation(held))["candidate"] == "c-1"
    with pytest.raises(Forbidden):
        await own.get_candidate("exam-1", "c-2")


async def test_ops_are_told_what_happens(
    running: Running, client: QuotaClient, ops: QuotaClient
) -> None:
    held = await reserve(client, "c-1")
    (event,) = await told(running.service)

    async with aclosing(ops.events(exam="exam-1", after="evt_0")) as events:
        first = await anext(events)

    assert (first["type"], first.get("id")) == ("reservation.held", f"evt_{event.sequence}")
    assert first["data"]["reservation"] == held


async def test_a_candidate_of_the_draw_is_admitted_with_the_ticket_it_kept(
    drawing: Running, client: QuotaClient
) -> None:
    joined = await client.join_waiting_room("exam-1", candidate="c-1")
    await let_open(drawing.service)
    await client.join_waiting_room("exam-1", candidate="c-2")
    await admit_draw(drawing.service)
    looks = []

    granted = await client.admitted("exam-1", "c-1", looks.append, ticket=joined)

    assert granted["candidate"] == "c-1"
    assert {look.ticket["ticket"] for look in looks} == {joined["ticket"]}
    assert looks[-1].rank is not None


@pytest.mark.settings(stream_interval_ms=10)
async def test_a_stream_tells_what_is_left_as_it_changes(client: QuotaClient) -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        aclosing(client.availability_stream("exam-1", subjects=["general"])) as events,
    ):
        first = await anext(events)
        assert first["event"] == "snapshot"
        known = first["data"]
        before = left_in(known)
        await reserve(client, "c-1")
        async for event in events:
            if event["event"] == "change":
                known = with_change(known, event["data"])
            if left_in(known) != before:
                break

    assert left_in(known) == {**before, "jinan": before["jinan"] - 1}


def left_in(seats: Availability) -> dict[str, int]:
    return {quota["venue"]: quota["remaining"] for quota in seats["quotas"]}


async def test_ops_read_files_piece_by_piece(client: QuotaClient, ops: QuotaClient) -> None:
    held = await reserve(client, "c-1")
    await ops.mark_paid(held, reason="told by the bank", reference="bank-1")

    text = b"".join([piece async for piece in ops.export_bookings("exam-1", for_="excel")]).decode()

    assert held in text


async def run_example(module: ModuleType, **names: Any) -> dict[str, Any]:
    """Run the indented lines of a module's docstring; return the names that it leaves."""
    lines = [line for line in str(module.__doc__).splitlines() if line.startswith("    ")]
    code = "\n".join(["async def example():", *lines, "    return locals()"])
    exec(code, names)  # noqa: S102  an example of ours
    found: dict[str, Any] = await names["example"]()
    return found


async def test_the_example_of_a_reservation_is_true(api: ApiClient) -> None:
    names = await run_example(quota_service.client, url=api.url, key=api.frontend_key)

    assert names["held"]["state"] == "held"


async def test_the_example_of_a_stream_is_true(client: QuotaClient) -> None:
    names = await run_example(streams, client=client)

    assert "jinan" in names["seats"]["venues_with_all"]


async def test_the_example_of_a_waiting_room_is_true(
    queueing: Running, client: QuotaClient
) -> None:
    ticket = await client.join_waiting_room("exam-1", candidate="c-7f3a91")
    await admit(queueing.service, serving=ticket["number"])
    kept: list[Any] = []

    names = await run_example(room, client=client, keep=kept.append)

    assert names["held"]["candidate"] == "c-7f3a91"
    assert {each["number"] for each in kept} == {ticket["number"]}
