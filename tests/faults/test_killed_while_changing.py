"""The API process is killed with SIGKILL at each marked line of a change of venue and of a refund.

Afterwards recovery alone has to bring the booking to one whole state, and both stores to agree.
"""

from typing import Any

import aiohttp
import pytest

from quota_service.workers.recovery import RecoveryWorker
from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.bookings import check_agreement
from tests.support.client import Reply

CHANGE_LINES = {
    "change: before script": "nothing",
    "change: after script": "stayed",
    "change: after commit": "moved",
    "change: after finish": "nothing",
}
REFUND_LINES = {
    "refund: before commit": "nothing",
    "refund: after commit": "returned",
    "refund: after finish": "returned",
}


async def booked(running: Running) -> Any:
    held = (await running.client.reserve("candidate-1", ("general", "qms"))).json
    assert (await running.client.pay(held, event="event-1")).json["outcome"] == "confirmed"
    return held


async def killed(running: Running, line: str, method: str, path: str, **arguments: Any) -> None:
    """Send a request to a process that dies at the line, so that it is never answered."""
    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.call(method, path, **arguments)


async def recover(running: Running) -> dict[str, int]:
    """Run the recovery worker once; return what it did, without what it did not."""
    worker = RecoveryWorker(running.service.stores.payments, running.service.settings)
    return {name: n for name, n in (await worker.run_once()).items() if n}


async def look(running: Running, reservation: Any) -> tuple[str, str]:
    reply = await running.client.get(f"/v1/reservations/{reservation['id']}")
    return reply.json["state"], reply.json["venue"]


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["venue"] if reply.status == 200 else reply.slug


@pytest.mark.parametrize(("line", "result"), CHANGE_LINES.items())
async def test_a_booking_whose_change_was_killed_is_whole_at_one_venue(
    running: Running, line: str, result: str
) -> None:
    booking = await booked(running)
    path = f"/v1/reservations/{booking['id']}/venue"

    await killed(running, line, "PUT", path, json={"venue": "tianjin"})
    first, second = await recover(running), await recover(running)

    has_moved = line in {"change: after commit", "change: after finish"}
    venue = "tianjin" if has_moved else "jinan"
    assert (first, second) == ({} if result == "nothing" else {result: 1}, {})
    assert await look(running, booking) == ("confirmed", venue)
    await check_agreement(running.service, booked=2)
    again = await running.client.call("PUT", path, json={"venue": "tianjin"})
    assert told(again) == (200, "tianjin")
    assert await running.client.remaining("jinan", "qms") == 2
    await check_agreement(running.service, booked=2)


@pytest.mark.parametrize("line", CHANGE_LINES)
async def test_a_change_that_is_asked_again_after_a_kill_moves_once_or_waits_for_recovery(
    running: Running, line: str
) -> None:
    booking = await booked(running)
    path = f"/v1/reservations/{booking['id']}/venue"

    await killed(running, line, "PUT", path, json={"venue": "tianjin"})
    again = await running.client.call("PUT", path, json={"venue": "tianjin"})
    await recover(running)
    at_last = await running.client.call("PUT", path, json={"venue": "tianjin"})

    is_under_attempt = line in {"change: after script", "change: after commit"}
    assert told(again) == ((409, "change-in-progress") if is_under_attempt else (200, "tianjin"))
    assert told(at_last) == (200, "tianjin")
    await check_agreement(running.service, booked=2)


async def test_a_hold_whose_change_was_killed_is_a_hold_at_the_new_venue(running: Running) -> None:
    held = (await running.client.reserve()).json
    path = f"/v1/reservations/{held['id']}/venue"

    await killed(running, "change: after script", "PUT", path, json={"venue": "tianjin"})

    assert await look(running, held) == ("held", "tianjin")
    assert await recover(running) == {}
    paid = await running.client.pay(held)
    assert paid.json["outcome"] == "confirmed"
    await check_agreement(running.service, booked=1)


@pytest.mark.parametrize(("line", "result"), REFUND_LINES.items())
async def test_a_booking_whose_refund_was_killed_is_refunded_once_or_not_at_all(
    running: Running, line: str, result: str
) -> None:
    booking = await booked(running)
    path = f"/v1/reservations/{booking['id']}/refund"

    await killed(running, line, "POST", path)
    first, second = await recover(running), await recover(running)

    is_refunded = line != "refund: before commit"
    assert (first, second) == ({} if result == "nothing" else {result: 1}, {})
    state = "refunded" if is_refunded else "confirmed"
    assert await look(running, booking) == (state, "jinan")
    await check_agreement(running.service, booked=0 if is_refunded else 2)
    again = await running.client.call("POST", path)
    assert told(again) == ((409, "refund-used") if is_refunded else (200, "jinan"))
    assert await running.client.remaining("jinan", "qms") == 2
    await check_agreement(running.service, booked=0)


async def test_after_a_killed_refund_its_candidate_registers_again(running: Running) -> None:
    booking = await booked(running)

    await killed(
        running, "refund: after commit", "POST", f"/v1/reservations/{booking['id']}/refund"
    )
    early = await running.client.reserve("candidate-1", ("ems",))
    await recover(running)
    late = await running.client.reserve("candidate-1", ("ems",))

    assert told(early) == (409, "session-conflict")
    assert late.status == 201
    assert (await running.client.pay(late.json)).json["outcome"] == "confirmed"
    await check_agreement(running.service, booked=1)
