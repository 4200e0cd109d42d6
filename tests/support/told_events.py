"""What has happened as events tell it."""

import json
from typing import Any

from quota_service.app.opening import Service
from quota_service.ledger.events import Event
from quota_service.workers.event_order import EventOrderWorker
from tests.support.lost_shards import drain


async def order(service: Service) -> list[Event]:
    """Do a round of the worker; return what it has numbered."""
    events = service.stores.maintenance.events
    before = (await events.span()).last
    await EventOrderWorker(service.stores.maintenance).run_once()
    return await events.page(before, 10_000)


async def told(service: Service) -> list[Event]:
    """Drain the journal and return every event, which must be numbered without a gap."""
    await drain(service)
    await order(service)  # places what is to be placed
    await drain(service)
    await order(service)
    found = await service.stores.maintenance.events.page(0, 10_000)
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    return found


async def kinds(service: Service) -> list[str]:
    """Return the kinds of all events, in order."""
    return [event.kind for event in await told(service)]


def data(event: Event) -> dict[str, Any]:
    """Return what an event tells."""
    found: dict[str, Any] = json.loads(event.body)["data"]
    return found
