"""Speaks to Redis: one pool, bounded waits, and every failure told as `SeatsUnavailable`.

redis-py's own retries are off. A command whose answer was lost may have run, and only the caller
knows that repeating it under the same reservation id is safe.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quota_service.coalescing import Coalescer, NotAwaitedError, QueueFullError
from quota_service.domain.errors import Overloaded, SeatsUnavailable
from quota_service.observability.metrics import Metrics
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.lane import Command, ScriptLane
from quota_service.seats.scripts import Script
from quota_service.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_URL_SCHEMES = ("redis://", "rediss://", "unix://")

_SERVER_AT_FAULT = (
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,  # also MASTERDOWN, which is a kind of it
    TryAgainError,
    NoPermissionError,
)
"""Error replies that say the server, not the command, is at fault; nothing was executed."""

_SERVER_AT_FAULT_WORDS = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""The same, as the first word of replies that redis-py has no class for."""


@dataclass(slots=True, eq=False)
class SharedPart:
    """The leading keys and arguments that calls of one script have in common."""

    keys: Sequence[str]
    args: Sequence[str | int]


@dataclass(slots=True, eq=False)
class ScriptCall:
    """One call of a script, its keys and arguments complete but for what is `shared`.

    A script that serves a batch answers `[code, answer, …]`. Calls of it that name the same object
    as their shared part leave as one call of the script: that part once, then what is their own.
    Neither class is frozen: one is made for each request, and freezing doubles what that costs.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]
    shared: SharedPart | None = None
    is_awaited: Callable[[], bool] | None = None
    """Asked before it leaves; only a call that begins a protocol may be dropped."""


def open_redis(settings: Settings) -> "redis.Redis":
    """Return a client for the settings; nothing is sent yet."""
    if not settings.redis_url.startswith(_URL_SCHEMES):
        raise SettingsError(f"QUOTA_REDIS_URL must start with {' or '.join(_URL_SCHEMES)}")
    pool = redis.BlockingConnectionPool.from_url(
        settings.redis_url,
        decode_responses=True,
        encoding_errors="backslashreplace",  # what is not text is refused where it is read
        socket_connect_timeout=settings.redis_connect_timeout_s,
        socket_timeout=settings.redis_command_timeout_s,
        max_connections=settings.redis_connections_max,
        timeout=settings.redis_command_timeout_s,
        retry=Retry(NoBackoff(), 0),
        client_name="quota-service",
    )
    return redis.Redis.from_pool(pool)


class ScriptRunner:
    """Runs scripts, those called in one event-loop turn as one pipeline.

    A server that does not know our scripts was restarted, or is another one that took over: its
    script cache is the one thing it keeps in memory alone. So before scripts are loaded again,
    every shard of `known_shards` that was not opened in this run of the server is fenced.
    """

    def __init__(
        self,
        client: "redis.Redis",
        scripts: Mapping[str, Script],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.client = client
        self.scripts = scripts
        self.known_shards: Callable[[], Awaitable[Iterable[Shard]]] = _none
        self._metrics = metrics
        self._durations = {
            name: metrics.script_duration.labels(script=name) for name in self.scripts
        }
        self._lane = ScriptLane(client.connection_pool, timeout_s=settings.redis_command_timeout_s)
        self._coalescer: Coalescer[ScriptCall, list[Any]] = Coalescer(
            self._send,
            batch_max=settings.redis_batch_max,
            in_flight_max=settings.redis_batches_in_flight_max,
            queue_max=settings.redis_queue_max,
            is_awaited=lambda call: call.is_awaited is None or call.is_awaited(),
        )

    async def call(self, call: ScriptCall) -> list[Any]:
        """Run one script and return its answer, `[code, …]`.

        Raises SeatsUnavailable, whose `applied` is None when the script may have run, and
        Overloaded.
        """
        try:
            return await self._coalescer.submit(call)
        except QueueFullError as error:
            raise Overloaded("too many calls wait for Redis") from error
        except NotAwaitedError as error:
            raise Overloaded("the request waited too long; it was not begun") from error

    async def run_id(self) -> str:
        """Return what names this run of the server; it is another after each start."""
        found = await self.command("INFO", "server")
        return str(found["run_id"])

    async def load(self) -> None:
        """Fence what was opened in an earlier run, then put every script into the server's cache.

        Raises Unavailable while the shards are not known.
        """
        shards = list(await self.known_shards())
        run, fence = await self.run_id(), self.scripts["fence"]
        try:
            async with self.client.pipeline(transaction=False) as pipe:
                for shard in shards:
                    pipe.eval(
                        fence.text, len(fence.shard_keys), *shard.keys_for(fence.shard_keys), run
                    )
                fenced = [code for code, *_ in await pipe.execute()].count(Code.DONE)
            if fenced:
                log.warning("redis was restarted", extra={"fenced": fenced})
            async with self.client.pipeline(transaction=False) as pipe:
                for script in self.scripts.values():
                    pipe.script_load(script.text)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error

    async def command(self, *words: str | int) -> Any:
        """Run one plain command outside the hot path; SeatsUnavailable when Redis fails."""
        try:
            return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error

    async def check_scripts(self) -> None:
        """Return when Redis answers and has every script; SeatsUnavailable otherwise."""
        shas = [script.sha for script in self.scripts.values()]
        present = await self.command("SCRIPT EXISTS", *shas)
        if not all(present):
            await self.load()

    async def clock_ms(self) -> int:
        """Return the time by Redis's clock, in milliseconds since the epoch."""
        seconds, micros = await self.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def aclose(self) -> None:
        """Close the connection that calls travel on."""
        await self._lane.aclose()

    async def _send(self, calls: list[ScriptCall]) -> list[list[Any] | BaseException]:
        batches: dict[object, list[int]] = {}
        for i, call in enumerate(calls):
            batches.setdefault(call.shared or call, []).append(i)
        answers = await self._send_batches([[calls[i] for i in at] for at in batches.values()])
        by_position: list[Any] = [None] * len(calls)
        for at, answer in zip(batches.values(), answers, strict=True):
            if isinstance(answer, BaseException) or calls[at[0]].shared is None:
                for i in at:
                    by_position[i] = answer
            else:
                code, *each = answer
                for n, i in enumerate(at):
                    by_position[i] = [code, each[n]] if each else answer
        return by_position

    async def _send_batches(
        self, batches: Sequence[Sequence[ScriptCall]]
    ) -> list[list[Any] | BaseException]:
        started = time.perf_counter()
        commands = [_command(batch) for batch in batches]
        answers = await self._exchange(commands)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            # The server has lost its script cache; what it refused has not run.
            log.info("loading scripts into redis")
            await self.load()
            again = await self._exchange([commands[i] for i in missing])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        elapsed_s = time.perf_counter() - started
        for batch in batches:
            self._durations[batch[0].script.name].observe(elapsed_s)
        return [as_unavailable(a) if isinstance(a, Exception) else a for a in answers]

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._lane.send(commands)
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error


async def _none() -> Iterable[Shard]:
    return ()


def _command(batch: Sequence[ScriptCall]) -> Command:
    """Return the one command for calls that leave as one."""
    first = batch[0]
    keys: list[str] = []
    args: list[str | int] = []
    if first.shared is not None:
        keys += first.shared.keys
        args += first.shared.args
    for call in batch:
        keys += call.keys
        args += call.args
    return ("EVALSHA", first.script.sha, len(keys), *keys, *args)


def as_unavailable(error: BaseException) -> BaseException:
    """Return the domain's error for one of redis-py's; a fault of our own script stays as it is."""
    if isinstance(error, _SERVER_AT_FAULT):
        return SeatsUnavailable(f"redis refused: {error}")
    if isinstance(error, RedisConnectionError | RedisTimeoutError | TimeoutError | OSError):
        return SeatsUnavailable(f"redis did not answer: {error}", applied=None)
    if isinstance(error, ResponseError) and str(error).startswith(_SERVER_AT_FAULT_WORDS):
        return SeatsUnavailable(f"redis refused: {error}")
    return error


async def server_warnings(client: "redis.Redis") -> list[str]:
    """Return what is wrong with the server's settings, in words; empty when all is well.

    A server that hides its configuration is reported too: the promises rest on these settings.
    """
    try:
        async with asyncio.timeout(5):
            found = {**await client.config_get("maxmemory-policy", "appendonly")}
    except ResponseError as error:
        return [f"it does not show its settings ({error}); check maxmemory-policy and AOF"]
    except (RedisError, OSError, TimeoutError) as error:
        raise as_unavailable(error) from error
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
    return [
        f"{name} is {found.get(name)!r}, the promises need {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
