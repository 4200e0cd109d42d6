"""Runs the API in a process of its own that kills itself at one marked line of a protocol.

Called with LINE TIME [workers], at which time of reaching it, and whether workers run in it too,
with settings in the environment; prints the URL once it listens. The kill is SIGKILL: no handler,
no clean-up, no buffer flushed.
"""

import asyncio
from collections.abc import Sequence

from quota_service.app.opening import Service, open_service
from quota_service.app.running import run_service
from quota_service.app.serving import Addresses
from quota_service.settings import read_settings
from tests.faults.entry import dying


async def serve(line: str, time: int, *, workers: bool) -> None:
    async def ready(_service: Service, addresses: Addresses) -> None:
        print(addresses.api, flush=True)  # noqa: T201  the test reads it

    async with open_service(read_settings(), failpoint=dying(line, time)) as service:
        await run_service(service, asyncio.Event(), api=True, workers=workers, ready=ready)


def main(arguments: Sequence[str]) -> int:
    line, time, *more = arguments
    asyncio.run(serve(line, int(time), workers=more == ["workers"]))
    return 0
