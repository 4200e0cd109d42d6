"""A recovery that goes on from where Redis stands gives what a rebuild of everything gives.

Random histories over both stores, in which processes die between them; then Redis is as it was some
steps ago, or is the same in another run. What the recovery makes of it is compared with what a
rebuild from Postgres alone makes: the same keys with the same values, but for those that tell who
may act and how many steps were taken, and for lifetimes.
"""

import dataclasses
import itertools
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError
from quota_service.domain.reservation import Reservation
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.order_events import order_events
from quota_service.registration.recover import recover_attempts
from quota_service.registration.recover_shard import Way, rebuild_shard, recover_if_lost
from quota_service.registration.refund import refund, return_seats
from quota_service.registration.release import checkout, release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from tests.support.callers import called_with
from tests.support.examples import examples
from tests.support.exams import make_exam
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.running_service import running_service
from tests.support.told_events import check_events
from tests.support.use_cases import (
    DiedError,
    dying,
    expire_due_holds,
    payment,
)

SEATS = {
    "jinan": {"general": 2, "qms": 1, "service": 2},
    "tianjin": {"general": 2, "qms": 2, "service": 1},
}
NOT_COMPARED = ("epoch", "origin", "version", "journal")
"""Who may act, and how many steps were taken: each recovery takes steps of its own."""

EXAMS = itertools.count(1)
EXAMPLES = examples(20)

number = st.integers(0, 7)
venue = st.sampled_from(sorted(SEATS))
subjects = st.sampled_from([("general",), ("qms",), ("general", "service"), ("qms", "service")])
step = st.one_of(
    st.tuples(st.just("hold"), number, venue, subjects),
    st.tuples(st.just("hold"), number, venue, subjects),
    st.tuples(st.sampled_from(["pay", "pay", "pay: after attempt", "pay: after commit"]), number),
    st.tuples(st.sampled_from(["release", "expire", "checkout"]), number),
    st.tuples(
        st.sampled_from(["change", "change: after script", "change: after commit"]), number, venue
    ),
    st.tuples(st.sampled_from(["refund", "refund: after commit"]), number),
    st.just(("drain",)),
    st.tuples(st.sampled_from(["recover", "return", "more seats"])),
)

steps = st.lists(step, min_size=5, max_size=30)


@dataclasses.dataclass
class History:
    """One exam, what was reserved in it, and Redis as it was when it was copied."""

    service: Service
    exam: str
    held: dict[int, Reservation] = dataclasses.field(default_factory=dict)
    keys: int = 0
    copy: dict[str, tuple[bytes, int]] = dataclasses.field(default_factory=dict)

    @property
    def shard(self) -> Shard:
        return self.service.stores.registry.shard(self.exam)

    async def take(self, step: tuple[Any, ...]) -> None:
        """Take one step; a refusal, or that nothing is there to do it to, is no matter."""
        verb, _, line = step[0].partition(": ")
        stores = self.service.stores
        if line:
            name = {"pay": "confirm"}.get(verb, verb)
            stores = dying(stores, f"{name}: {line}")
        with suppress(QuotaError, DiedError, KeyError):
            match (verb, *step[1:]):
                case ("hold", who, venue, subjects):
                    self.keys += 1
                    order = Order(f"c-{who}", subjects, (venue,), accepted_notice=True)
                    with called_with(f"key-{who % 2}"):
                        made = await reserve(
                            stores.reservations, self.exam, order, f"key-{self.keys}"
                        )
                    self.held[who] = made.reservation
                case ("pay", who):
                    held = self.held[who]
                    await confirm(stores.payments, payment(held, f"event-{held.id}", held.amount))
                case ("release", who):
                    await release(stores, self.held[who].id)
                case ("checkout", who):
                    await checkout(stores, self.held[who].id)
                case ("expire", who):
                    await self.expire(self.held[who])
                case ("change", who, venue):
                    await change_venue(stores.payments, self.held[who].id, venue)
                case ("refund", who):
                    await refund(stores.payments, self.held[who].id)
                case _:
                    await self.work(verb)

    async def work(self, verb: str) -> None:
        """Do what a worker or ops do."""
        stores = self.service.stores
        if verb == "drain":
            await drain_journal(stores.maintenance, self.shard, 1000, 3)
        elif verb == "recover":
            await recover_attempts(stores.payments, self.shard, 0, 100)
        elif verb == "return":
            await return_seats(stores.payments, self.shard, 100)
        else:
            more = {
                venue: {subject: seats + 1 for subject, seats in each.items()}
                for venue, each in SEATS.items()
            }
            await import_exam(stores.maintenance, make_exam(self.exam, seats=more))

    async def expire(self, held: Reservation) -> None:
        shard, serial = self.service.stores.registry.locate(held.id)
        with suppress(AssertionError):  # it is not held any more
            await move_due(redis_of(self.service), shard, serial)
            await expire_due_holds(self.service.stores, shard, 10)

    async def lose(self) -> None:
        """Let Redis be as it was when it was copied, or as it is, in another run."""
        client, shard = redis_of(self.service), self.shard
        if self.copy:
            for key in await keys_of(self.service, shard):
                await client.delete(key)
            for key, (value, ttl_ms) in self.copy.items():
                await client.restore(key, ttl_ms, value)
        fence = await client.get(shard.key("epoch"))
        await client.set(shard.key("epoch"), fence.partition("@")[0] + "@another")


async def keys_of(service: Service, shard: Shard) -> list[str]:
    client = redis_of(service)
    return [key async for key in client.scan_iter(match=f"{shard.tag}*", count=1000)]


async def dumped(service: Service, shard: Shard) -> dict[str, tuple[bytes, int]]:
    """Return every key of a shard as Redis dumps it, with its lifetime in ms, 0 for ever."""
    raw = redis_of(service, decodes=False)
    return {
        key: (await raw.dump(key), max(0, await raw.pttl(key)))
        for key in await keys_of(service, shard)
    }


async def read(service: Service, shard: Shard) -> dict[str, Any]:
    """Return every key of a shard that is compared, with its value."""
    client, found = redis_of(service), {}
    for key in await keys_of(service, shard):
        name = key.removeprefix(f"{shard.tag}:")
        if name in NOT_COMPARED:
            continue
        kind = await client.type(key)
        if kind == "string":
            found[name] = await client.get(key)
        elif kind == "hash":
            found[name] = await client.hgetall(key)
        elif kind == "set":
            found[name] = await client.smembers(key)
        else:
            found[name] = await client.zrange(key, 0, -1, withscores=True)
    return found


def without_last_ends(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out when the last of a candidate's holds ended unpaid.

    A late payment takes one from their count, and leaves the time of the last.
    """
    counts = {who: text.partition("|")[0] for who, text in found.get("unpaid", {}).items()}
    return {**found, "unpaid": counts}


async def compare(
    service: Service, before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], *, lost: bool
) -> Way:
    """Live through a history and a loss; return how it was recovered, which a rebuild equals.

    With `lost`, Redis has lost what came `after`.
    """
    history = History(service, f"exam-{next(EXAMS)}-r")
    await import_exam(service.stores.maintenance, make_exam(history.exam, seats=SEATS))
    for each in before:
        await history.take(each)
        await order_events(service.stores.maintenance, 1000)
    if lost:
        history.copy = await dumped(service, history.shard)
    for each in after:
        await history.take(each)
        await order_events(service.stores.maintenance, 1000)
    await history.lose()

    recovery = await recover_if_lost(service.stores.maintenance, history.exam)
    recovered = await read(service, history.shard)
    again = await rebuild_shard(service.stores.maintenance, history.exam, "to compare")
    rebuilt = await read(service, history.shard)
    await check_events(service, history.exam)

    assert recovery is not None
    assert again is not None
    assert again.way is Way.REBUILT
    assert without_last_ends(recovered) == without_last_ends(rebuilt), recovery
    return recovery.way


@pytest.mark.histories
def test_a_recovery_gives_what_a_rebuild_gives(settings: Settings) -> None:
    ways: Counter[Way] = Counter()
    with running_service(settings) as (runner, service):

        @hypothesis_settings(
            max_examples=EXAMPLES,
        )
        @given(steps, steps, st.sampled_from([True, True, False]))
        def histories(
            before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], lost: bool
        ) -> None:
            ways[runner.run(compare(service, before, after, lost=lost))] += 1

        histories()

    # Else the comparison would have been one of rebuilds with rebuilds.
    assert ways[Way.RECONCILED] > EXAMPLES / 20, ways
    assert ways[Way.REBUILT] < EXAMPLES / 2, ways
