"""Runs the API or the workers as `quota-service serve` and `worker` do, with a death or a break in.

Called as `python -m tests.faults.entry serve|worker`, with the service's settings in the
environment and beside them:

    FAULTS_DIE_AT     the marked line of a protocol at which the process kills itself with SIGKILL
    FAULTS_DIE_AFTER  at which time of reaching it, 1 if not given
    FAULTS_BREAK      a guard that is taken out, to see the checkers go red:
                      `fence`: a lost Redis is neither fenced nor rebuilt
                      `release`: the release script does not look at the state
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from quota_service.app import Service, open_service, run_service
from quota_service.observability.logs import configure_logging
from quota_service.seats import scripts
from quota_service.seats.keys import Shard
from quota_service.settings import read_settings
from quota_service.workers.shard_recovery import ShardRecoveryWorker

LUA = Path(scripts.__file__).parents[2] / "lua"
RELEASE_GUARD_BEGINS = "if state == 'released'"
RELEASE_GUARD_ENDS = "\nmove_seats("


def dying(line: str, after: int) -> Callable[[str], None]:
    """Return what is told each marked line, and kills this process at one of them."""
    left = after

    def reached(now: str) -> None:
        nonlocal left
        left -= now == line
        if now == line and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def without_release_guard(folder: Path) -> None:
    """Serve scripts from a copy in which a release gives seats back in whatever state."""
    for source in [*LUA.glob("*.lua"), *LUA.glob("include/*.lua")]:
        target = folder / source.relative_to(LUA)
        target.parent.mkdir(exist_ok=True)
        text = source.read_text(encoding="utf-8")
        if source.name == "release.lua":
            before, _, guarded = text.partition(RELEASE_GUARD_BEGINS)
            _, ends, after = guarded.partition(RELEASE_GUARD_ENDS)
            if not ends:
                raise AssertionError("release.lua is not as this break knows it")
            text = before + ends + after
        target.write_text(text, encoding="utf-8")
    scripts._folder = lambda: folder  # type: ignore[assignment]  # noqa: SLF001


def without_fence(service: Service) -> None:
    """Let a lost Redis be served from as if nothing had happened."""

    async def look_away(_: RebuildWorker) -> Mapping[str, int]:
        return {}

    async def no_shards() -> Iterable[Shard]:
        return ()

    service.runner.known_shards = no_shards
    RebuildWorker.run_once = look_away  # type: ignore[method-assign]


async def main(kind: str, environ: Mapping[str, str]) -> None:
    settings = read_settings()
    configure_logging(settings.log_level)
    reached = dying(environ.get("FAULTS_DIE_AT", ""), int(environ.get("FAULTS_DIE_AFTER", "1")))
    breaks = environ.get("FAULTS_BREAK", "").split(",")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with tempfile.TemporaryDirectory(prefix="broken-lua-") as folder:
        if "release" in breaks:
            without_release_guard(Path(folder))
        async with open_service(settings, reached=reached) as service:
            if "fence" in breaks:
                without_fence(service)
            is_api = kind == "serve"
            await run_service(service, stop, api=is_api, workers=not is_api)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], os.environ))
