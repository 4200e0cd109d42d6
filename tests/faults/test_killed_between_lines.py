"""The API process is killed with SIGKILL at each marked line of a protocol; nothing may be lost.

Afterwards either recovery alone, or the provider's repeated callback to a process that lives, has
to bring everything to an end, and both stores have to agree.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from quota_service.domain.exam import Quota
from quota_service.registration.recover import Recovered, recover_attempts
from quota_service.settings import Settings, environment_of, variable
from tests.conftest import Running
from tests.faults.dying_api import main as dying_api_main
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.forked import STDOUT, Forked, fork
from tests.support.patience import PATIENT, START_LIMIT_S
from tests.support.told_events import check_events
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
SEAT = Quota("jinan", "general")
TOLD = {
    variable(name)
    for name in (
        *("redis_url", "postgres_dsn", "payment_secrets", "port", "admin_port"),
        *("webhook_private_addresses", *PATIENT),
    )
}
"""The settings that a process which dies has as the others; the rest are those by default."""
BEFORE_THE_DECISION = [
    "confirm: before attempt",
    "confirm: after attempt",
    "confirm: before commit",
]
AFTER_THE_DECISION = ["confirm: after commit", "confirm: after finish"]


CALLS = """
SELECT 1 FROM pg_stat_activity
WHERE query LIKE '-- Settles a group of payment%'
  AND datname = current_database() AND pid <> pg_backend_pid()
"""
WAITING, UNDER_WAY = f"{CALLS} AND wait_event_type = 'Lock'", f"{CALLS} AND state = 'active'"


@asynccontextmanager
async def dying_api(
    settings: Settings, client: ApiClient, line: str, time: int = 1, *, workers: bool = False
) -> AsyncIterator[ApiClient]:
    """A second API process on the same stores that dies at `line`; it must have died at the end.

    It dies at this time of reaching the line, which may be a line of its workers.
    """
    async with api_process(settings, client, line, time, workers=workers) as (dying, _):
        yield dying


@asynccontextmanager
async def api_process(
    settings: Settings, client: ApiClient, line: str, time: int = 1, *, workers: bool = False
) -> AsyncIterator[tuple[ApiClient, Forked]]:
    """The same, and the process, for who kills it."""
    told = {name: text for name, text in environment_of(settings).items() if name in TOLD}
    process = await fork(
        dying_api_main,
        *(line, str(time), *(["workers"] if workers else [])),
        cwd=ROOT,
        env={**os.environ, **told},
        pipes=[STDOUT],
    )
    try:
        assert process.stdout is not None
        url = await asyncio.wait_for(process.stdout.readline(), START_LIMIT_S)
        async with aiohttp.ClientSession() as session:
            api = ApiClient(session, url.decode().strip(), client.frontend_key, client.ops_key)
            yield api, process
        assert await asyncio.wait_for(process.wait(), START_LIMIT_S) == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def seats_in_both_stores(running: Running) -> dict[str, int]:
    """Return the counters of the one quota in Redis, and what Postgres counts as confirmed."""
    stores = running.service.stores
    snapshot = await stores.seats.snapshot(stores.registry.shard("exam-1"))
    async with stores.ledger.connection() as connection:
        in_postgres = await stores.exams.confirmed(connection, "exam-1")
    return {
        "remaining": snapshot.remaining[SEAT],
        "held": snapshot.held[SEAT],
        "confirming": snapshot.confirming[SEAT],
        "confirmed": snapshot.confirmed[SEAT],
        "postgres": in_postgres[SEAT],
    }


async def answers(running: Running, question: str, *, is_wanted: bool) -> None:
    """Wait until a question to Postgres has rows, or none."""
    async with running.service.stores.ledger.connection() as asked:

        async def is_so() -> bool:
            return bool(await asked.fetch(question)) is is_wanted

        await eventually(is_so, within_s=START_LIMIT_S)


async def recover(running: Running) -> Recovered:
    """Recover what a death left; whatever its line, there are events of what is so, and no more."""
    stores = running.service.stores
    await check_events(running.service, "exam-1")
    recovered = await recover_attempts(stores.payments, stores.registry.shard("exam-1"), 0, 100)
    await check_events(running.service, "exam-1")
    return recovered


@pytest.mark.parametrize("line", BEFORE_THE_DECISION)
async def test_a_death_before_the_commit_leaves_a_hold_that_can_still_be_paid(
    running: Running, line: str
) -> None:
    held = (await running.client.reserve()).json

    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.pay(held, event="event-1")
    recovered = await recover(running)
    seen = await running.client.get(f"/v1/reservations/{held['id']}")
    after_recovery = await seats_in_both_stores(running)
    again = await running.client.pay(held, event="event-1")

    assert recovered == Recovered(abandoned=0 if line == "confirm: before attempt" else 1)
    assert (seen.json["state"], seen.json["deadline"]) == ("held", held["deadline"])
    assert after_recovery == {
        "remaining": 2, "held": 1, "confirming": 0, "confirmed": 0, "postgres": 0
    }  # fmt: skip
    assert again.json["outcome"] == "confirmed"
    assert await seats_in_both_stores(running) == {
        "remaining": 2, "held": 0, "confirming": 0, "confirmed": 1, "postgres": 1
    }  # fmt: skip


@pytest.mark.parametrize("line", AFTER_THE_DECISION)
async def test_a_death_after_the_commit_is_finished_by_recovery_alone(
    running: Running, line: str
) -> None:
    held = (await running.client.reserve()).json

    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.pay(held, event="event-1")
    recovered = await recover(running)
    seen = await running.client.get(f"/v1/reservations/{held['id']}")
    again = await running.client.pay(held, event="event-1")
    other = await running.client.pay(held, event="event-2")

    assert recovered == Recovered(finished=1 if line == "confirm: after commit" else 0)
    assert seen.json["state"] == "confirmed"
    assert again.json["outcome"] == "confirmed"
    assert (other.json["outcome"], other.json["reason"]) == ("refund_due", "already-paid")
    assert await seats_in_both_stores(running) == {
        "remaining": 2, "held": 0, "confirming": 0, "confirmed": 1, "postgres": 1
    }  # fmt: skip


@pytest.mark.parametrize("line", BEFORE_THE_DECISION + AFTER_THE_DECISION)
async def test_the_repeated_callback_alone_ends_what_a_death_left(
    running: Running, line: str
) -> None:
    held = (await running.client.reserve()).json

    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.pay(held, event="event-1")
    again = await running.client.pay(held, event="event-1")
    await recover(running)

    assert again.json["outcome"] == "confirmed"
    assert await seats_in_both_stores(running) == {
        "remaining": 2, "held": 0, "confirming": 0, "confirmed": 1, "postgres": 1
    }  # fmt: skip


async def test_what_postgres_is_asked_by_a_process_that_dies_meanwhile_is_finished_by_recovery(
    running: Running,
) -> None:
    """Between `before commit` and `after commit`: the call is under way, and goes on without us."""
    held = (await running.client.reserve()).json
    ledger = running.service.stores.ledger

    async with api_process(running.service.settings, running.client, "no line") as (dying, process):
        async with ledger.transaction() as connection:
            await connection.execute("SELECT 1 FROM shards WHERE exam = 'exam-1' FOR UPDATE")
            paying = asyncio.create_task(dying.pay(held, event="event-1"))
            await answers(running, WAITING, is_wanted=True)
            process.kill()
            with pytest.raises(aiohttp.ClientError):
                await paying
        await answers(running, UNDER_WAY, is_wanted=False)
    recovered = await recover(running)
    seen = await running.client.get(f"/v1/reservations/{held['id']}")
    again = await running.client.pay(held, event="event-1")

    assert again.json["outcome"] == "confirmed"
    assert (recovered, seen.json["state"]) == (Recovered(finished=1), "confirmed")
    assert await seats_in_both_stores(running) == {
        "remaining": 2, "held": 0, "confirming": 0, "confirmed": 1, "postgres": 1
    }  # fmt: skip


async def test_a_reservation_whose_answer_was_never_sent_is_found_again_by_its_key(
    running: Running,
) -> None:
    line = "reserve: after script"

    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.reserve(idempotency_key="key-of-the-order")
    again = await running.client.reserve(idempotency_key="key-of-the-order")

    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (await seats_in_both_stores(running))["held"] == 1


@pytest.mark.parametrize(
    "line", ["reserve: after script", *BEFORE_THE_DECISION, *AFTER_THE_DECISION]
)
async def test_what_costs_nothing_is_booked_once_by_a_repeat_of_the_request_that_died(
    running: Running, line: str
) -> None:
    definition = exam_definition("free", seats={"jinan": {"general": 3}})
    definition["fee"] = {"amount": 0, "currency": "CNY"}
    await running.client.import_exam(definition)
    order = {"exam": "free", "idempotency_key": "key-of-the-order"}

    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.reserve(**order)
    again = await running.client.reserve(**order)

    assert (again.status, again.json["state"]) == (201, "confirmed")
    stores = running.service.stores
    await recover_attempts(stores.payments, stores.registry.shard("free"), 0, 100)
    snapshot = await stores.seats.snapshot(stores.registry.shard("free"))
    assert (snapshot.remaining[SEAT], snapshot.confirmed[SEAT]) == (2, 1)
