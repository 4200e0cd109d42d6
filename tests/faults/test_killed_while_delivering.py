"""A worker is killed with SIGKILL before and after it posted an event; another goes on.

The receiver gets each event at least once, and those of the reservation in their order.
"""

import dataclasses

import pytest

from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.lost_shards import rows
from tests.support.webhooks import deliver, endpoint_to, happen, receiving, working

HELD, CONFIRMED = "reservation.held", "reservation.confirmed"


@pytest.mark.parametrize(
    ("line", "posted"), [("deliver: before post", 0), ("deliver: after post", 1)]
)
async def test_what_a_killed_worker_did_not_record_is_delivered_by_another_in_order(
    running: Running, line: str, posted: int
) -> None:
    service = running.service
    settings = dataclasses.replace(service.settings, webhook_private_addresses=True)
    async with receiving() as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        async with dying_api(settings, running.client, line, workers=True):
            await happen(service, ("r-1", HELD), ("r-1", CONFIRMED))
        seen = list(receiver.told)
        await rows(service, "UPDATE webhook_endpoints SET held_until = now() RETURNING id")
        await deliver(worker)

    assert seen == [("r-1", HELD)] * posted
    assert receiver.told == [*seen, ("r-1", HELD), ("r-1", CONFIRMED)]
