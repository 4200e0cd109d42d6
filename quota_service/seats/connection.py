"""Speaks to Redis: one connection, bounded waits, and every failure raised as `SeatsUnavailable`.

redis-py's own retries are off. A command whose answer was lost may have run, and only the caller
knows that repeating it under the same reservation id is safe.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import (
    AskError,
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
from quota_service.seats.keys import RECOVERY, Shard
from quota_service.seats.pipelined import (
    Command,
    Commands,
    PipelinedConnection,
    UnsupportedServerError,
)
from quota_service.seats.scripts import Script
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_WORK_MAX = 4000
"""Work (µs) of the calls that leave as one; Redis serves no other client meanwhile."""

_SERVER_AT_FAULT = (
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,  # also MASTERDOWN, which is a kind of it
    TryAgainError,
    AskError,  # also MOVED, which is a kind of it
    NoPermissionError,
    NoScriptError,  # after the scripts were loaded
    UnsupportedServerError,
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

    The first argument of all is the shard's fence, to which the run of the server is added when the
    call leaves: a script refuses it where the shard was opened in another run.

    A script that serves a batch answers `[code, answer, …]`. Calls of it that name the same object
    as their shared part leave as one call of the script: that part once, then what is their own.
    Neither class is frozen: one is made for each request, and freezing doubles what that costs.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int]
    shared: SharedPart | None = None
    is_awaited: Callable[[], bool] | None = None
    """Asked before it leaves; only a call that begins a use case may be dropped."""
    work: int = 0
    """About how many microseconds it keeps Redis; those that leave as one are bounded by it."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How script calls go to Redis."""

    batch_max: int = 64
    """Calls sent at once."""
    in_flight_max: int = 4
    """Batches under way."""
    queue_max: int = 20_000
    """Calls that may wait for a batch; more are answered 503."""


class ScriptRunner:
    """Runs scripts on one server, those called in one event-loop turn as one pipeline.

    With `redis_wait_replicas` an answer counts once that many replicas have what was written; but
    for what a recovery writes, which has to go on without them. Redis then holds back all that
    follows on the connection, so one batch is under way at a time.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        scripts: Mapping[str, Script],
        settings: Settings,
        metrics: Metrics,
        *,
        name: str = "",
        address: "AddressOf | None" = None,
        redirect: "Redirect | None" = None,
    ) -> None:
        self.scripts = scripts
        self.name = name
        """The server in messages, where there are several: `HOST:PORT: `."""
        self._redirect = redirect
        self._durations = {
            name: metrics.script_duration.labels(script=name) for name in self.scripts
        }
        timeout_s, limits = settings.redis_command_timeout_s, settings.limits_of(BatchLimits)
        self._connection = PipelinedConnection(pool, timeout_s=timeout_s, address=address)
        self._replicas = settings.redis_wait_replicas
        self._replicas_timeout_ms = round(timeout_s * 500)
        self._coalescer: Coalescer[ScriptCall, list[Any]] = Coalescer(
            self._send,
            batch_max=limits.batch_max,
            in_flight_max=1 if self._replicas else limits.in_flight_max,
            queue_max=limits.queue_max,
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
            raise Overloaded("the request waited too long; it was not started") from error

    async def command(self, *words: str | int) -> Any:
        """Run one plain command outside the hot path; SeatsUnavailable when Redis fails."""
        (reply,) = await self._exchange(lambda _run: [words])
        if isinstance(reply, Exception):
            raise as_unavailable(reply)
        return reply

    def of(self, _shard: Shard) -> "ScriptRunner":
        """Return what runs scripts on a shard: where there is one server, this."""
        return self

    def each(self) -> "Sequence[ScriptRunner]":
        """Return what runs scripts on each server: this."""
        return (self,)

    @property
    def run(self) -> str:
        """The run of the server that was spoken to last; empty before."""
        return self._connection.run

    @property
    def version(self) -> str:
        """The program and version of the server that was spoken to last, as `redis 8.2.1`."""
        return self._connection.version

    def faults(self) -> Mapping[str, str]:
        """Return nothing: where there is one server, `check` raises what is wrong."""
        return {}

    async def find(self) -> None:
        """Do nothing: where there is one server, it is known."""

    async def check(self, *, is_named: bool = False) -> None:
        """Return when Redis answers as it did and has every script; SeatsUnavailable otherwise.

        With `is_named` also where nobody says whether this is the primary still.
        """
        try:
            await self._connection.check(is_named=is_named)
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error
        shas = [script.sha for script in self.scripts.values()]
        if not all(await self.command("SCRIPT", "EXISTS", *shas)):
            await self._load()

    async def clock_ms(self) -> int:
        """Return the time by Redis's clock, in milliseconds since the epoch."""
        seconds, micros = await self.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def _load(self) -> None:
        """Put every script into the server's cache."""
        log.info("loading scripts into redis")
        texts = [script.text for script in self.scripts.values()]
        replies = await self._exchange(lambda _run: [("SCRIPT", "LOAD", text) for text in texts])
        for reply in replies:
            if isinstance(reply, Exception):
                raise as_unavailable(reply)

    async def _send(self, calls: list[ScriptCall]) -> list[list[Any] | BaseException]:
        batches = _as_one(calls)
        answers = await self._send_batches([[calls[i] for i in at] for at in batches])
        by_position: list[Any] = [None] * len(calls)
        for at, answer in zip(batches, answers, strict=True):
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
        answers = await self._run(batches)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            # The server has lost its script cache; what it refused has not run.
            await self._load()
            again = await self._run([batches[i] for i in missing])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        if self._redirect is not None:
            for i, answer in enumerate(answers):
                if isinstance(answer, AskError):
                    answers[i] = await self._redirect(answer, batches[i])
        elapsed_s = time.perf_counter() - started
        for batch in batches:
            self._durations[batch[0].script.name].observe(elapsed_s)
        return [as_unavailable(a) if isinstance(a, Exception) else a for a in answers]

    async def redirected(self, batch: Sequence[ScriptCall], *, is_asking: bool) -> Any:
        """Send calls that another server has refused for this one, behind ASKING if `is_asking`.

        Returns the answer, an error among them.
        """

        async def ask() -> Any:
            if not is_asking:
                return (await self._run([batch]))[0]
            return (await self._exchange(lambda run: [("ASKING",), _command(batch, run)]))[1]

        answer = await ask()
        if isinstance(answer, NoScriptError):
            await self._load()
            answer = await ask()
        return answer

    async def _run(self, batches: Sequence[Sequence[ScriptCall]]) -> list[Any]:
        """Send batches as one command each; return the answers, errors among them."""
        if not self._replicas or not any(map(_must_be_replicated, batches)):
            return await self._exchange(lambda run: [_command(batch, run) for batch in batches])
        wait = ("WAIT", self._replicas, self._replicas_timeout_ms)
        *answers, replicas = await self._exchange(
            lambda run: [*(_command(batch, run) for batch in batches), wait]
        )
        if isinstance(replicas, int) and replicas >= self._replicas:
            return answers
        told = f"{replicas} replicas have it, not {self._replicas}"
        return [
            SeatsUnavailable(told, applied=None)
            if _must_be_replicated(batch) and not isinstance(answer, Exception)
            else answer
            for batch, answer in zip(batches, answers, strict=True)
        ]

    async def _exchange(self, commands: Commands) -> list[Any]:
        try:
            return await self._connection.send(commands)
        except (RedisError, OSError, TimeoutError) as error:
            raise as_unavailable(error) from error


AddressOf = Callable[[], Awaitable[tuple[str, int]]]
"""Returns the address at which the server is to be found now."""

Redirect = Callable[[AskError, Sequence[ScriptCall]], Awaitable[Any]]
"""Sends calls once more that a server has refused for another; returns the answer or an error."""


def _as_one(calls: Sequence[ScriptCall]) -> list[list[int]]:
    """Return the positions of calls that leave as one: of the same shared part, work bounded."""
    batches: list[list[int]] = []
    latest: dict[object, list[int]] = {}
    work: dict[object, int] = {}
    for i, call in enumerate(calls):
        part = call.shared or call
        if part not in latest or work[part] + call.work > _WORK_MAX:
            latest[part], work[part] = [], 0
            batches.append(latest[part])
        latest[part].append(i)
        work[part] += call.work
    return batches


def _must_be_replicated(batch: Sequence[ScriptCall]) -> bool:
    call = batch[0]
    fence = (call.shared.args if call.shared else call.args)[0]
    return call.script.writes and not str(fence).endswith(RECOVERY)


def _command(batch: Sequence[ScriptCall], run: str) -> Command:
    """Return the one command for calls that leave as one, to the server of a run."""
    first = batch[0]
    keys: list[str] = []
    args: list[str | int] = []
    if first.shared is not None:
        keys += first.shared.keys
        args += first.shared.args
    for call in batch:
        keys += call.keys
        args += call.args
    args[0] = f"{args[0]}@{run}"
    return ("EVALSHA", first.script.sha, len(keys), *keys, *args)


def as_unavailable(error: BaseException) -> BaseException:
    """Return the domain's error for one of redis-py's; a fault of our own script stays as it is."""
    if isinstance(error, _SERVER_AT_FAULT):
        unavailable = SeatsUnavailable(f"redis refused: {error}")
        unavailable.__cause__ = error
        return unavailable
    if isinstance(error, RedisConnectionError | RedisTimeoutError | TimeoutError | OSError):
        cause = str(error) or "it took too long"
        return SeatsUnavailable(f"redis did not answer: {cause}", applied=None)
    if isinstance(error, ResponseError) and str(error).startswith(_SERVER_AT_FAULT_WORDS):
        return SeatsUnavailable(f"redis refused: {error}")
    return error
