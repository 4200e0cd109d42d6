"""A service on real stores for tests that are not coroutines, as those of Hypothesis are."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.settings import Settings
from tests.support.redis_clients import close_clients


@contextmanager
def running_service(settings: Settings) -> Iterator[tuple[asyncio.Runner, Service]]:
    """Open a service; give it with the runner of the event loop that it lives on."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        opened = open_service(settings)
        service = runner.run(opened.__aenter__())
        stack.callback(lambda: runner.run(opened.__aexit__(None, None, None)))
        stack.callback(lambda: runner.run(close_clients()))
        runner.run(refresh_memory(service))
        yield runner, service
