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

from quota_service.coalescing import Coalescer, QueueFullError
from quota_service.domain.errors import Overloaded, SeatsUnavailable
from quota_service.observability.metrics import Metrics
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
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


@dataclass(frozen=True, slots=True, eq=False)
class ScriptCall:
    """One call of a script, its keys and arguments complete.

    A script that serves a batch answers `[code, answer, …]`. Its calls say with `shared_args` how
    many leading arguments the whole batch shares; calls that agree in these and in the keys of the
    shard leave as one.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]
    shared_args: int = 0

    @property
    def group(self) -> object:
        """What calls must agree in to leave as one; unique to a call that leaves alone."""
        if self.shared_args == 0:
            return self
        shared_keys = tuple(self.keys[: len(self.script.shard_keys)])
        return (self.script.name, shared_keys, tuple(self.args[: self.shared_args]))


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
        self._coalescer: Coalescer[ScriptCall, list[Any]] = Coalescer(
            self._send,
            batch_max=settings.redis_batch_max,
            in_flight_max=settings.redis_batches_in_flight_max,
            queue_max=settings.redis_queue_max,
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

    async def _send(self, calls: list[ScriptCall]) -> list[list[Any] | BaseException]:
        groups: dict[object, list[ScriptCall]] = {}
        for call in calls:
            groups.setdefault(call.group, []).append(call)
        answers = await self._send_merged([_merge(group) for group in groups.values()])
        by_call: dict[ScriptCall, list[Any] | BaseException] = {}
        for group, answer in zip(groups.values(), answers, strict=True):
            by_call.update(zip(group, _split(answer, group), strict=True))
        return [by_call[call] for call in calls]

    async def _send_merged(self, calls: list[ScriptCall]) -> list[list[Any] | BaseException]:
        started = time.perf_counter()
        answers = await self._pipeline(calls)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            # The server has lost its script cache; what it refused has not run.
            log.info("loading scripts into redis")
            await self.load()
            again = await self._pipeline([calls[i] for i in missing])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        elapsed_s = time.perf_counter() - started
        for call in calls:
            self._durations[call.script.name].observe(elapsed_s)
        return [as_unavailable(a) if isinstance(a, Exception) else a for a in answers]

    async def _pipeline(self, calls: Sequence[ScriptCall]) -> list[Any]:
        try:
            async with self.client.pipeline(transaction=False) as pipe:
                for call in calls:
                    pipe.execute_command(
                        "EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args
                    )
                return list(await pipe.execute(raise_on_error=False))
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error


async def _none() -> Iterable[Shard]:
    return ()


def _merge(group: Sequence[ScriptCall]) -> ScriptCall:
    """Return one call for a group of calls that may leave as one."""
    first = group[0]
    if len(group) == 1:
        return first
    keys, args = list(first.keys), list(first.args)
    for call in group[1:]:
        keys += call.keys[len(call.script.shard_keys) :]
        args += call.args[call.shared_args :]
    return ScriptCall(first.script, keys, args, first.shared_args)


def _split(
    answer: list[Any] | BaseException, group: Sequence[ScriptCall]
) -> Sequence[list[Any] | BaseException]:
    """Return the answer of each call of a group from the answer of the call they left as."""
    if len(group) == 1 or isinstance(answer, BaseException):
        return [answer] * len(group)
    code, *answers = answer
    return [[code, each] for each in answers] if answers else [answer] * len(group)


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
