"""Runs the supervisor: stores for its own metrics and health, workers, port, admin port.

At shutdown readiness goes first, on every port; then the port closes, with every connection that
had come to it handed over; then the workers finish what they have under way and end, and the admin
port closes last.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from quota_service.api.acceptor import bind
from quota_service.app import (
    Addresses,
    Service,
    listen_on_admin_port,
    open_service,
    run_service,
    stopped_by_signals,
)
from quota_service.observability.metrics import SupervisorMetrics
from quota_service.settings import Settings, address_of_setting
from quota_service.supervisor.admin import supervisor_admin_app
from quota_service.supervisor.doorman import Doorman
from quota_service.supervisor.team import Team

WORKERS_MAX = 64


async def supervise(settings: Settings, workers: int) -> None:
    """Serve the API with this many worker processes until SIGTERM or SIGINT.

    Raises QuotaError when a worker cannot be kept alive, SettingsError when a port is taken.
    """
    with stopped_by_signals() as stop:
        async with open_service(settings) as service:
            team = Team(workers, settings, SupervisorMetrics(service.metrics))
            # What cannot be kept alive ends in order too, and is told afterwards.
            team.failed.add_done_callback(lambda _: stop.set())

            async def listen(stack: AsyncExitStack) -> Addresses:
                return await _listen(stack, service, team, stop)

            await run_service(service, stop, api=False, workers=False, listen=listen)
            if team.failed.done():
                team.failed.result()


async def _listen(
    stack: AsyncExitStack, service: Service, team: Team, stop: asyncio.Event
) -> Addresses:
    """Open the admin port, bring the workers up, and open the port once all of them listen."""
    settings = service.settings
    with address_of_setting("", settings.host, settings.port):
        listeners = await bind(settings.host, settings.port, unread_max_s=settings.idle_timeout_s)
    for listener in listeners:
        stack.callback(listener.close)
    admin = await listen_on_admin_port(stack, supervisor_admin_app(service, team), settings)
    stack.push_async_callback(team.stop)
    team.start()
    await _first_of(team.all_listen(), stop.wait())
    if team.failed.done():
        team.failed.result()
    doorman = Doorman(listeners, team)
    stack.callback(doorman.close)
    noticing = asyncio.create_task(_give_notice(stop, team))
    stack.callback(noticing.cancel)
    return Addresses(doorman.url, admin)


async def _give_notice(stop: asyncio.Event, team: Team) -> None:
    await stop.wait()
    team.give_notice()


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(each) for each in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
