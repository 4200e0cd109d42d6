"""The API process is killed with SIGKILL inside a page of a move-out; the same call does the rest.

Nobody is moved twice, nobody is lost, and both stores agree.
"""

import aiohttp
import pytest

from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.bookings import check_agreement, left
from tests.support.exams import exam_definition
from tests.support.lost_shards import rows

BOOKINGS, HOLDS = 3, 2
PATH = "/v1/exams/exam-1/venues/jinan"
BODY = {"reason": "burst pipe", "venues": ["tianjin"]}


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("change: before script", 2),
        ("change: after script", 1),
        ("change: after script", BOOKINGS + HOLDS),
        ("change: after commit", 2),
        ("change: after finish", 1),
        ("move: after batch", 1),
    ],
)
async def test_a_page_that_was_killed_is_finished_by_the_same_call(
    running: Running, line: str, time: int
) -> None:
    client = running.client
    all_of_them = BOOKINGS + HOLDS
    seats = {venue: {"general": all_of_them} for venue in ("jinan", "tianjin")}
    await client.import_exam(exam_definition(seats=seats))
    held = [(await client.reserve(f"candidate-{n}")).json for n in range(all_of_them)]
    for booking in held[:BOOKINGS]:
        await client.pay(booking, event=f"event of {booking['id']}")
    await client.call("POST", f"{PATH}/close", key=client.ops_key, json={"reason": "burst pipe"})

    async with dying_api(running.service.settings, client, line, time) as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.call("POST", f"{PATH}/move-out", key=client.ops_key, json=BODY)
    rest = await client.call("POST", f"{PATH}/move-out", key=client.ops_key, json=BODY)

    assert (rest.status, rest.json["stayed"], rest.json["next"]) == (200, [], None)
    for each in held:
        seen = (await client.get(f"/v1/reservations/{each['id']}")).json
        assert seen["venue"] == "tianjin"
    changes = await rows(running.service, "SELECT venue_changes FROM bookings")
    assert changes == [(1,)] * BOOKINGS
    assert await left(running.service, "jinan/general") == all_of_them
    for hold in held[BOOKINGS:]:
        paid = await client.pay(hold, event=f"event of {hold['id']}")
        assert paid.json["outcome"] == "confirmed"
    changes = await rows(running.service, "SELECT venue_changes FROM bookings")
    assert changes == [(1,)] * all_of_them
    await check_agreement(running.service, booked=all_of_them)
