"""The journal on its way to Postgres: each entry once, whoever drains and whenever it dies."""

import asyncio
import dataclasses
from typing import Any

import pytest
import redis.asyncio

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, SeatsUnavailable
from quota_service.domain.reservation import State
from quota_service.ledger.journal import Entry, EntryRefused, JournalDrain, Position, draining
from quota_service.registration.drain_journal import Drained, drain_journal
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.keys import Shard
from quota_service.seats.record import parse_record
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.support.books import read_journal
from tests.support.redis_clients import redis_of

TRIES_MAX = 3


def shard_of(service: Service) -> Shard:
    return service.stores.registry.shard("exam-1")


async def hold(service: Service, candidate: str, venue: str = "tianjin") -> str:
    order = Order(candidate, ("general",), (venue,), accepted_notice=True)
    return (await reserve(service.stores.reservations, "exam-1", order, "key-1")).reservation.id


async def drain(service: Service, limit: int = 500) -> Drained:
    return await drain_journal(service.stores.maintenance, shard_of(service), limit, TRIES_MAX)


async def rows(service: Service, statement: str) -> list[tuple[Any, ...]]:
    async with service.stores.ledger.connection() as connection:
        return [tuple(row) for row in await connection.fetch(statement)]


async def stored(service: Service) -> list[int]:
    """Return the versions in Postgres, those of one shard and epoch."""
    found = await rows(service, "SELECT version FROM journal ORDER BY epoch, version")
    return [version for (version,) in found]


async def waiting(service: Service) -> int:
    return len(await read_journal(redis_of(service), shard_of(service)))


async def add_poison(service: Service, **fields: str) -> str:
    """Append an entry no script would write, under the next version; return its id."""
    client, shard = redis_of(service), shard_of(service)
    version = await client.incr(shard.key("version"))
    entry = f"{shard.epoch}-{version}"
    await client.xadd(shard.key("journal"), {"verb": "odd", **fields}, id=entry)
    return entry


def counted(service: Service, name: str) -> float:
    return service.metrics.registry.get_sample_value(name, {"exam": "exam-1"}) or 0


async def test_every_step_arrives_with_its_words(service: Service) -> None:
    reservation = await hold(service, "candidate-1")
    before = await service.stores.seats.read(shard_of(service), reservation.rpartition(".")[2])
    await release(service.stores, reservation)
    entries = await read_journal(redis_of(service), shard_of(service))

    drained = await drain(service)

    found = await rows(
        service,
        "SELECT epoch || '-' || version, verb, subject, body,"
        " round(extract(epoch FROM at) * 1000)::bigint::text FROM journal ORDER BY version",
    )
    assert drained == Drained(stored=len(entries))
    assert found == [(i, e["verb"], e["subject"], e["body"], e["at"]) for i, e in entries]
    assert before is not None
    assert await waiting(service) == 0
    assert counted(service, "quota_journal_entries_drained_total") == len(entries)


async def test_a_reservation_is_kept_as_its_last_entry_left_it(service: Service) -> None:
    released, held = await hold(service, "candidate-1"), await hold(service, "candidate-2")
    await drain(service)
    await release(service.stores, released)

    await drain(service)

    states = {}
    for reservation in (released, held):
        record = await service.stores.reader.record(reservation)
        assert record is not None
        states[reservation] = parse_record("exam-1", "serial", record).state
    assert states == {released: State.RELEASED, held: State.HELD}
    assert set(await service.stores.reader.records_of_candidate("exam-1", "candidate-1")) == {
        released
    }


async def test_an_older_entry_never_replaces_what_a_newer_one_left(service: Service) -> None:
    reservation = await hold(service, "candidate-1")
    text = await redis_of(service).get(shard_of(service).record_key(reservation.rpartition(".")[2]))
    record = parse_record("exam-1", reservation.rpartition(".")[2], str(text))
    newer = Entry(Position(2, 1), "release", "s", 1, "newer", record)
    async with draining(service.stores.ledger, "exam-1", shard_of(service).epoch) as worker:
        assert worker is not None
        await worker.store([newer])

        await worker.store([dataclasses.replace(newer, position=Position(1, 99), body="older")])

    assert await service.stores.reader.record(reservation) == "newer"


async def test_an_empty_journal_drains_nothing(service: Service) -> None:
    await drain(service)

    assert await drain(service) == Drained()


async def test_a_long_journal_is_drained_in_parts_without_a_gap(service: Service) -> None:
    for i in range(5):
        await hold(service, f"candidate-{i}")
    versions = list(range(1, await waiting(service) + 1))

    parts = []
    while (part := await drain(service, limit=4)).stored:
        parts.append(part.stored)

    assert max(parts) == 4
    assert await stored(service) == versions


async def test_two_workers_at_once_store_each_entry_once(service: Service) -> None:
    for i in range(5):
        await hold(service, f"candidate-{i}")
    versions = list(range(1, await waiting(service) + 1))

    async def drain_to_the_end(worker: Service) -> int:
        done = 0
        while await waiting(worker):
            done += (await drain(worker, limit=2)).stored
        return done

    async with open_service(service.settings) as beside:
        await refresh_memory(beside)

        done = await asyncio.gather(*(drain_to_the_end(each) for each in (service, beside) * 2))

    assert sum(done) == len(versions)
    assert await stored(service) == versions
    assert await waiting(service) == 0


async def test_a_worker_finds_nothing_while_another_is_at_the_shard(service: Service) -> None:
    await hold(service, "candidate-1")
    async with draining(service.stores.ledger, "exam-1", shard_of(service).epoch) as first:
        second = await drain(service)

    assert isinstance(first, JournalDrain)
    assert second == Drained(is_busy=True)
    assert (await drain(service)).stored > 0


async def test_under_an_epoch_that_is_over_nothing_is_drained(service: Service) -> None:
    await hold(service, "candidate-1")
    before = await waiting(service)
    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE shards SET epoch = epoch + 1")

    with pytest.raises(NotReady):
        await drain(service)

    assert await stored(service) == []
    assert await waiting(service) == before


async def test_what_was_stored_and_not_trimmed_is_not_stored_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(service, "candidate-1")
    versions = list(range(1, await waiting(service) + 1))

    async def die(*_: object) -> None:
        raise SeatsUnavailable("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(type(service.stores.seats), "trim_journal", die)
        with pytest.raises(SeatsUnavailable):
            await drain(service)
    left_in_redis = await waiting(service)
    again = await drain(service)
    left_after_that = await waiting(service)
    await hold(service, "candidate-2")
    later = await drain(service)

    assert (left_in_redis, left_after_that) == (len(versions), 0)
    assert (again.stored, later.stored) == (0, 1)
    assert await stored(service) == [*versions, len(versions) + 1]
    assert await waiting(service) == 0


async def test_what_was_not_committed_stays_in_redis(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(service, "candidate-1")
    before = await waiting(service)

    async def die(*_: object) -> None:
        raise RuntimeError("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(JournalDrain, "skip_to", die)
        with pytest.raises(RuntimeError):
            await drain(service)

    assert await stored(service) == []
    assert await waiting(service) == before
    assert (await drain(service)).stored == before


POISON = {
    "without a body": {"subject": "a", "at": "1"},
    "with a time that is no number": {"subject": "a", "at": "noon", "body": "b"},
    "with a time beyond any calendar": {
        "verb": "capacity",
        "subject": "a",
        "at": "9" * 17,
        "body": "1",
    },
    "with a time beyond any clock": {
        "verb": "capacity",
        "subject": "a",
        "at": "9" * 30,
        "body": "1",
    },
    "with a record that is none": {"subject": "a", "at": "1", "body": "held|torn"},
    "with a zero byte": {"verb": "capacity", "subject": "a\0", "at": "1", "body": "1\0"},
    "with a record from beyond any calendar": {
        "subject": "a" * 24,
        "at": "1",
        "body": f"held|c|v|s|t|1|CNY|{'9' * 17}|1|1|1|0|0||0|h||",
    },
}


@pytest.mark.parametrize("kind", POISON)
async def test_an_entry_that_cannot_be_stored_is_set_aside_after_some_tries(
    service: Service, kind: str
) -> None:
    await hold(service, "candidate-1")
    before = await waiting(service)
    poison = await add_poison(service, **POISON[kind])
    await hold(service, "candidate-2")

    rounds = [await drain(service) for _ in range(TRIES_MAX)]

    assert rounds == [
        Drained(stored=before, waits=True),
        Drained(waits=True),
        Drained(stored=1, quarantined=1),
    ]
    assert await stored(service) == [*range(1, before + 1), before + 2]
    assert await waiting(service) == 0
    found = await rows(
        service, "SELECT entry, tries, quarantined_at IS NOT NULL FROM journal_quarantine"
    )
    assert found == [(poison, TRIES_MAX, True)]
    assert await service.stores.reader.quarantined_entries() == 1


async def test_an_entry_that_is_not_text_is_set_aside_like_any_other(service: Service) -> None:
    await drain(service)
    shard = shard_of(service)
    version = await redis_of(service).incr(shard.key("version"))
    raw = redis.asyncio.Redis.from_url(service.settings.redis_url)
    await raw.xadd(
        shard.key("journal"),
        {b"verb": b"reserve", b"subject": b"\xff", b"at": b"1", b"body": b"\xfe|\xff"},
        id=f"{shard.epoch}-{version}",
    )
    await raw.aclose()
    await hold(service, "candidate-1")

    rounds = [await drain(service) for _ in range(TRIES_MAX)]

    assert (rounds[-1].quarantined, rounds[-1].stored) == (1, 1)
    assert await waiting(service) == 0


async def test_an_entry_waits_for_its_turn_behind_one_that_is_being_tried(
    service: Service,
) -> None:
    await drain(service)
    await add_poison(service)
    await hold(service, "candidate-1")

    await drain(service)

    assert await waiting(service) == 2
    assert await service.stores.reader.quarantined_entries() == 0


async def test_the_tries_of_an_entry_that_is_stored_at_last_are_forgotten(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold(service, "candidate-1")

    async def refuse(*_: object) -> None:
        raise EntryRefused("not now")

    with monkeypatch.context() as patched:
        patched.setattr(JournalDrain, "_insert", refuse)
        waits = (await drain(service)).waits
    tried = await rows(service, "SELECT tries FROM journal_quarantine")
    stored_now = (await drain(service)).stored

    assert (waits, tried) == (True, [(1,)])
    assert stored_now > 0
    assert await rows(service, "SELECT tries FROM journal_quarantine") == []


async def test_two_entries_that_cannot_be_stored_do_not_share_their_tries(
    service: Service,
) -> None:
    await drain(service)
    await add_poison(service)
    await add_poison(service)

    rounds = [await drain(service) for _ in range(2 * TRIES_MAX - 1)]

    assert sum(each.quarantined for each in rounds) == 2
    tries = await rows(service, "SELECT tries FROM journal_quarantine ORDER BY entry")
    assert tries == [(TRIES_MAX,), (TRIES_MAX,)]


def test_positions_are_ordered_by_epoch_first() -> None:
    assert Position(1, 900) < Position(2, 1) < Position(2, 10)
    assert str(Position(2, 10)) == "2-10"


async def test_the_worker_counts_what_it_did(service: Service) -> None:
    worker = JournalDrainWorker(service.stores.maintenance, service.settings, tries_max=1)
    await add_poison(service)
    entries = await waiting(service)

    first, second = await worker.run_once(), await worker.run_once()

    assert dict(first) == {"stored": entries - 1, "quarantined": 1}
    assert not any(second.values())
