"""Whatever is wrong with a Redis or with old data, a recovery ends, and opens the shard."""

import asyncio

import asyncpg
import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import QuotaError
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.ledger.confirmations import PaymentDecision
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.sync_shard import sync_shard
from quota_service.seats.connection import BatchLimits
from quota_service.seats.store import SeatStore
from tests.support.bookings import book, recover
from tests.support.exams import make_exam
from tests.support.lost_shards import (
    another_run,
    check_after,
    drain,
    lose_everything,
    recover_shards,
    rows,
    ways,
)
from tests.support.records import change_fields
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state

EXAM_2 = "exam-2"


async def recover_at_last(service: Service, rounds: int = 3) -> list[object]:
    """Do rounds of the worker; return what each came to, as text where it failed."""
    ends: list[object] = []
    for _ in range(rounds):
        try:
            ends.append(await recover_shards(service))
        except Exception as error:  # noqa: BLE001  it is what the test is about
            ends.append(repr(error))
        await service.stores.registry.refresh()
    return ends


async def dumped(service: Service) -> dict[str, bytes]:
    """Return every key of the test exam as Redis dumps it."""
    client = redis_of(service, decodes=False)
    return {key: await client.dump(key) async for key in client.scan_iter(match="{exam-1:0}*")}


async def put_back(service: Service, keys: dict[str, bytes]) -> None:
    """Let Redis have these keys and no others, in another run."""
    client = redis_of(service, decodes=False)
    await client.flushdb()
    for key, value in keys.items():
        await client.restore(key, 0, value, replace=True)
    await another_run(service)


async def test_a_full_redis_that_was_started_again_is_opened(service: Service) -> None:
    held = await hold(service)
    await drain(service)
    await another_run(service)
    await redis_of(service).config_set("maxmemory", "1mb")
    try:
        assert await recover_at_last(service) == [1, 0, 0]
        assert await state(service, held) is State.HELD
    finally:
        await redis_of(service).config_set("maxmemory", "0")


async def test_a_torn_record_that_is_being_paid_does_not_close_the_shard(
    service: Service,
) -> None:
    other = await hold(service, "other", "tianjin")
    torn = await hold(service, "torn")
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(torn))
    await drain(service)
    shard, serial = service.stores.registry.locate(torn.id)
    text = await redis_of(service).get(shard.record_key(serial))
    await redis_of(service).set(shard.record_key(serial), text[: len(text) // 2])
    await another_run(service)

    assert await recover_at_last(service) == [1, 0, 0]

    assert await ways(service) == ["rebuilt"]
    assert [await state(service, each) for each in (other, torn)] == [State.HELD] * 2
    await check_after(service, booked=0)


@pytest.mark.parametrize("name", ["version", "epoch", "remaining", "due"])
async def test_a_key_of_another_type_does_not_close_the_shard_nor_keep_others_waiting(
    service: Service, name: str
) -> None:
    await import_exam(service.stores.maintenance, make_exam(EXAM_2))
    held, other = await hold(service), await hold(service, exam=EXAM_2)
    await drain(service)
    shard = service.stores.registry.shard("exam-1")
    await redis_of(service).delete(shard.key(name))
    await redis_of(service).lpush(shard.key(name), "x")
    await another_run(service, EXAM_2)
    if name in {"remaining", "due"}:
        await another_run(service)

    assert sum(n for n in await recover_at_last(service) if isinstance(n, int)) == 2

    assert await state(service, held) is State.HELD
    assert await state(service, other) is State.HELD
    await check_after(service, booked=0)


async def test_a_torn_record_keeps_no_gap_from_being_closed(service: Service) -> None:
    await hold(service, "known", "tianjin")
    await drain(service)
    missing = await hold(service, "missing", "tianjin")
    client, shard = redis_of(service), service.stores.registry.shard("exam-1")
    await client.xtrim(shard.key("journal"), maxlen=0)
    await client.set(shard.record_key("torn"), "torn")

    await drain(service)

    assert await rows(service, "SELECT state FROM reservations WHERE id = $1", missing.id) == [
        ("held",)
    ]


async def test_a_rebuild_that_an_earlier_release_did_not_finish_is_recovered(
    service: Service,
) -> None:
    """It began versions anew, and had left a hold out, which is an entry of its journal."""
    held = await hold(service)
    await drain(service)
    shard = service.stores.registry.shard("exam-1")
    client = redis_of(service)
    _, serial = service.stores.registry.locate(held.id)
    text = await client.get(shard.record_key(serial))
    await client.set(shard.key("epoch"), "2")
    await client.set(shard.key("version"), 1)
    await client.delete(shard.key("journal"))
    entry = {"verb": "expire", "subject": serial, "at": 1, "body": text.replace("held", "expired")}
    await client.xadd(shard.key("journal"), entry, id="2-1")
    await rows(service, "UPDATE shards SET epoch = 2, state = 'fenced'")
    await service.stores.registry.refresh()

    assert await recover_at_last(service) == [1, 0, 0]

    await check_after(service, booked=0)


async def test_an_epoch_far_ahead_of_postgres_is_passed_at_once(service: Service) -> None:
    """Postgres was set back."""
    held = await hold(service)
    await drain(service)
    key = service.stores.registry.shard("exam-1").key("epoch")
    await redis_of(service).set(key, "100@another")

    assert await recover_at_last(service) == [1, 0, 0]

    assert service.stores.registry.shard("exam-1").epoch == 101
    assert await state(service, held) is State.HELD


async def test_an_exam_that_postgres_does_not_remember_to_have_opened_is_recovered(
    service: Service,
) -> None:
    await another_run(service)
    await recover_shards(service)
    await rows(service, "UPDATE shards SET state = 'new', epoch = 1")
    await rows(service, "UPDATE journal_positions SET drained_epoch = 0, drained_version = 0")
    await rows(service, "DELETE FROM recoveries")
    await service.stores.registry.refresh()

    await sync_shard(service.stores, "exam-1")
    await service.stores.registry.refresh()

    assert await recover_at_last(service) == [1, 0, 0]
    await hold(service)


async def test_what_was_lost_of_an_epoch_whose_bookings_have_no_step_is_rebuilt(
    service: Service,
) -> None:
    """They are from before steps were kept; counts agree, as a refund was lost as well."""
    refunded = await book(service, "refunded", "tianjin")
    held = await hold(service, "paid-late", "tianjin")
    await drain(service)
    before = await dumped(service)
    await confirm(service.stores.payments, payment(held, "event-late"))
    await refund(service.stores.payments, refunded.id)
    await recover(service)
    await drain(service)
    await rows(service, "UPDATE bookings SET step_epoch = 0, step_version = 0")
    await rows(service, "UPDATE refunds SET returned_epoch = 0, returned_version = 0")
    await rows(service, "UPDATE shards SET steps_since = epoch + 1")
    await put_back(service, before)

    assert await recover_shards(service) == 1

    assert await ways(service) == ["rebuilt"]
    assert await state(service, held) is State.CONFIRMED
    await check_after(service, booked=1)


async def test_nothing_is_kept_for_a_payment_that_has_had_its_end(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service, "candidate-1", "tianjin")
    shard, serial = service.stores.registry.locate(held.id)

    async def dies(*_: object) -> None:
        raise DiedError("before it gives the attempt up")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "abandon_payment", dies)
        patched.setattr("quota_service.ledger.confirmations.ATTEMPT_LIFE_S", -1.0)
        with pytest.raises(DiedError):
            await confirm(service.stores.payments, payment(held))
    ended = PaymentDecision(payment(held), PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    await service.stores.payments.confirmations.settle(ended)
    await change_fields(redis_of(service), shard, serial, due_ms=1)
    await another_run(service)

    assert await recover_shards(service) == 1

    after = await service.stores.seats.read(*service.stores.registry.locate(held.id))
    assert after is not None
    assert (after.state, after.due_ms <= await service.stores.seats.clock_ms()) == (
        State.HELD,
        True,
    )


async def test_a_frozen_transaction_of_one_exam_keeps_no_other_exam_waiting(
    service: Service,
) -> None:
    await import_exam(service.stores.maintenance, make_exam(EXAM_2))
    frozen = await asyncpg.connect(service.settings.postgres_dsn)
    opened = f"SELECT 1 FROM recoveries WHERE exam = '{EXAM_2}' AND opened_at IS NOT NULL"  # noqa: S608
    try:
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT 1 FROM shards WHERE exam = 'exam-1' FOR SHARE")
        await another_run(service)
        await another_run(service, EXAM_2)

        with pytest.raises(QuotaError):
            await recover_shards(service)
    finally:
        await frozen.close()

    assert len(await rows(service, opened)) == 1
    await service.stores.registry.refresh()
    assert await recover_shards(service) == 1


async def test_more_attempts_than_fit_in_one_batch_are_all_ended(service: Service) -> None:
    seats = {"jinan": {"general": 700}}
    await import_exam(service.stores.maintenance, make_exam(EXAM_2, seats=seats))
    holds = await asyncio.gather(*(hold(service, f"c{n}", "jinan", EXAM_2) for n in range(620)))
    shard = service.stores.registry.shard(EXAM_2)
    for start in range(0, len(holds), 100):
        await asyncio.gather(
            *(
                service.stores.seats.begin_payment(
                    shard, each.id.rpartition(".")[2], "attempt", 8000, "CNY"
                )
                for each in holds[start : start + 100]
            )
        )
    await drain_journal(service.stores.maintenance, shard, 5000, 3)
    await another_run(service, EXAM_2)
    small = service.settings.with_limits(BatchLimits(queue_max=1000))

    async with open_service(small) as other:
        await refresh_memory(other)
        assert await recover_shards(other) == 1

    await service.stores.registry.refresh()
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard(EXAM_2))
    assert (snapshot.attempts, snapshot.live_holds) == (0, 620)


async def test_many_exams_are_recovered_in_a_round(service: Service) -> None:
    for n in range(2, 8):
        await import_exam(service.stores.maintenance, make_exam(f"exam-{n}"))
    await lose_everything(service)

    assert await recover_shards(service) == 7

    assert {each.is_open for each in service.stores.registry.used_shards()} == {True}
