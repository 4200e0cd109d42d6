"""Runs the API in a process of its own that kills itself at one marked line of a protocol.

Called as `python -m tests.faults.dying_api LINE TIME [workers]`, at which time of reaching it, and
whether workers run in it too, with settings in the environment; prints the URL once it listens. The
kill is SIGKILL: no handler, no clean-up, no buffer flushed.
"""

import asyncio
import sys

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


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), workers=sys.argv[3:] == ["workers"]))
