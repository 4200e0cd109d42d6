"""Steps of a change of venue and a refund in Redis alone, each leaving books that balance."""

import dataclasses

from quota_service.domain.exam import Quota, Window
from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest


async def change(
    seats: SeatsUnderTest,
    serial: str,
    venue: str = "tianjin",
    attempt: str = "change-1",
    window: Window | None = None,
) -> ScriptReply:
    """Change, after which the books must balance."""
    exam = dataclasses.replace(seats.exam, registration=window or seats.exam.registration)
    answer = await seats.store.change(seats.shard, exam, serial, venue, attempt)
    await seats.check_books()
    return answer


async def settle(
    seats: SeatsUnderTest, serial: str, attempt: str = "change-1", *, has_moved: bool
) -> ScriptReply:
    """Settle a change, after which the books must balance."""
    answer = await seats.store.finish_change(seats.shard, serial, attempt, has_moved=has_moved)
    await seats.check_books()
    return answer


async def refund(seats: SeatsUnderTest, serial: str) -> ScriptReply:
    """Refund, after which the books must balance."""
    answer = await seats.store.refund(seats.shard, serial)
    await seats.check_books()
    return answer


async def changing(seats: SeatsUnderTest, serial: str, venue: str = "tianjin") -> str:
    """Let a booking be changing under the attempt `change-1`."""
    assert (await change(seats, serial, venue)).code is Code.DONE
    return serial


async def counted(seats: SeatsUnderTest, quota: str) -> dict[str, int]:
    """Return the counters of a quota that are not zero."""
    snapshot, key = await seats.snapshot(), Quota(*quota.split("/"))
    names = ("remaining", "held", "confirming", "confirmed")
    return {name: n for name in names if (n := getattr(snapshot, name)[key])}


def state_of(answer: ScriptReply) -> State | None:
    return answer.reservation and answer.reservation.state


async def ended(seats: SeatsUnderTest, state: State) -> str:
    """Return the serial of a reservation that ended so."""
    if state is State.REFUNDED:
        serial = await seats.confirmed()
        assert (await seats.store.refund(seats.shard, serial)).code is Code.DONE
        return serial
    serial = await seats.hold()
    if state is State.RELEASED:
        await seats.store.release(seats.shard, serial)
    else:
        await move_due(seats.client, seats.shard, serial)
        assert (await seats.store.expire(seats.shard, [serial]))[0] == 1
    return serial
