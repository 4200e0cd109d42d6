"""Runs the API or the workers as `quota-service serve` and `worker` do, with a death or a break in.

Called as `python -m tests.faults.entry serve|worker`, with the service's settings in the
environment and beside them:

    FAULTS_DIE_AT     the marked line of a protocol at which the process kills itself with SIGKILL
    FAULTS_DIE_AFTER  at which time of reaching it, 1 if not given
    FAULTS_BREAK      names of `breaks`, parted by commas, that are taken out of the service
    FAULTS_FOLDER     where a break may put scripts it has changed
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from quota_service.app.opening import open_service
from quota_service.app.running import run_service
from quota_service.observability.logs import configure_logging
from quota_service.settings import read_settings
from tests.faults import breaks


def dying(line: str, after: int) -> Callable[[str], None]:
    """Return what is told each marked line, and kills this process at one of them."""
    left = after

    def failpoint(now: str) -> None:
        nonlocal left
        left -= now == line
        if now == line and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return failpoint


async def main(kind: str, environ: Mapping[str, str]) -> None:
    settings = read_settings()
    configure_logging(settings.log_level)
    failpoint = dying(environ.get("FAULTS_DIE_AT", ""), int(environ.get("FAULTS_DIE_AFTER", "1")))
    broken = filter(None, environ.get("FAULTS_BREAK", "").split(","))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    breaks.apply(broken, Path(environ["FAULTS_FOLDER"]))
    async with open_service(settings, failpoint=failpoint) as service:
        is_api = kind == "serve"
        await run_service(service, stop, api=is_api, workers=not is_api)


def run(arguments: Sequence[str]) -> int:
    """Run one of them, with the settings in the environment."""
    asyncio.run(main(arguments[0], os.environ))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
