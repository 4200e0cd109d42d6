"""The pool of Postgres connections, every wait bounded and every failure translated."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from quota_service.domain.errors import LedgerUnavailable
from quota_service.ledger.errors import ends_connection, is_refusal, translate
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Pool, Record
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[Record]


log = logging.getLogger(__name__)

_KEEPALIVES = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
}
"""Seconds, seconds and tries; a server on a socket of the machine ignores them."""

_CLOSE_S = 2.0
"""Time for the pool to close at the end of a process, whatever a connection may take."""


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """How long a transaction lives."""

    idle_timeout_s: float = 10.0
    """After how long without a word Postgres ends it."""


@cache
def load_queries() -> Mapping[str, str]:
    """Return every query by the name of its file, one `.sql` each beside this module."""
    folder = resources.files("quota_service") / "ledger" / "queries"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return MappingProxyType(
        {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
    )


class Ledger:
    """Connections to the ledger and its named queries."""

    def __init__(self, pool: "Pool[Record]", settings: Settings, metrics: Metrics) -> None:
        self._pool = pool
        self._acquire_timeout_s = settings.postgres_acquire_timeout_s
        # Behind a pooler a session has no settings of ours: each transaction gets the limit itself.
        idle_timeout_s = settings.limits_of(TransactionLimits).idle_timeout_s
        idle_ms = round(idle_timeout_s * 1000)
        self._idle_timeout = "" if settings.postgres_statement_cache else str(idle_ms)
        self._beat_s = idle_timeout_s / 4
        self._wait = metrics.pool_wait
        self.query = load_queries()

    @asynccontextmanager
    async def connection(self, *, commits: bool = False) -> "AsyncIterator[Connection]":
        """Lend a connection; LedgerUnavailable when none is to be had in time.

        Where a command of the block `commits` by itself, a failure that leaves it unknown whether
        it did is LedgerUnavailable with `applied` None.
        """
        started = time.perf_counter()
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout_s)
        except Exception as error:
            raise translate(error) from error
        finally:
            self._wait.observe(time.perf_counter() - started)
        try:
            yield connection
        except Exception as error:
            if ends_connection(error):
                await self._pool.expire_connections()
            is_unknown = commits and not is_refusal(error)
            told = translate(error, applied=None if is_unknown else False)
            if told is error:
                raise
            raise told from error
        finally:
            await self._give_back(connection)

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Connection]":
        """Lend a connection inside a transaction, committed when the block ends.

        A failure of the commit itself raises LedgerUnavailable with `applied` None: it may have
        been committed, and only a look-up by key shows it.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                if self._idle_timeout:
                    await connection.execute(self.query["set_idle_timeout"], self._idle_timeout)
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await transaction.rollback()
                raise
            try:
                with _heard_of_standby(connection):
                    await transaction.commit()
            except LedgerUnavailable:
                raise
            except Exception as error:
                raise translate(error, applied=None) from error

    @asynccontextmanager
    async def kept_alive(self, connection: "Connection") -> AsyncIterator[None]:
        """Keep Postgres from ending a transaction that waits while the block works elsewhere.

        The block must not use the connection. A lost connection is raised at its end.
        """
        is_over = asyncio.Event()

        async def beat() -> None:
            while not is_over.is_set():
                try:
                    async with asyncio.timeout(self._beat_s):
                        await is_over.wait()
                except TimeoutError:
                    await connection.execute("SELECT 1")

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            is_over.set()
            await asyncio.wait({beating})
        beating.result()

    async def _give_back(self, connection: "Connection") -> None:
        """Return a connection to the pool.

        One that cannot be reset any more is dropped by asyncpg. Its effects remain, and
        the error that broke it is raised: a commit of unknown end must stay one.
        """
        try:
            await self._pool.release(connection, timeout=self._acquire_timeout_s)
        except Exception as error:  # noqa: BLE001  whatever it is, the connection is gone
            log.warning(
                "postgres connection dropped", extra={"cause": f"{type(error).__name__}: {error}"}
            )

    async def fetch(self, name: str, *args: Any) -> "list[Record]":
        """Run the query `name` and return its rows."""
        async with self.connection() as connection:
            return await connection.fetch(self.query[name], *args)

    async def commit(self, name: str, *args: Any) -> "list[Record]":
        """Run the query `name`, which is a whole transaction, and return its rows.

        Raises LedgerUnavailable with `applied` None when its answer was lost or came too late: it
        may have been committed, and only a look-up by key shows it.
        """
        async with self.connection(commits=True) as connection:
            with _heard_of_standby(connection):
                return await connection.fetch(self.query[name], *args)

    async def sync(self) -> None:
        """Return when all that was read so far is as durable as a commit of ours is.

        A commit whose wait for a synchronous standby was cancelled is seen by others although no
        standby has it. Whoever answers by what it has found, not by what it has committed, or
        gives seats back by it, calls this before. Raises LedgerUnavailable.
        """
        await self.commit("sync")


@contextmanager
def _heard_of_standby(connection: "Connection") -> Iterator[None]:
    """Raise LedgerUnavailable when Postgres warns of a commit: a wait for a standby was cancelled.

    It is committed then, on this server alone, and may be lost with it.
    """
    warned: list[str] = []

    def listen(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if isinstance(message, asyncpg.PostgresWarning):
            warned.append(str(message))

    connection.add_log_listener(listen)
    try:
        yield
    finally:
        connection.remove_log_listener(listen)
    if warned:
        raise LedgerUnavailable(f"postgres: {'; '.join(warned)}", applied=None)


async def _nothing_to_reset(_connection: object) -> None:
    """Spare each use of a connection a question to the server.

    asyncpg still ends a transaction that is open. Beyond that nothing of a session is ever changed
    here: locks and settings are those of transactions, and LISTEN is not used.
    """


@asynccontextmanager
async def open_ledger(settings: Settings, metrics: Metrics) -> AsyncIterator[Ledger]:
    """Open the pool; a server that is away now is no error, it is asked when it is needed.

    Closing waits for connections that are lent, and for the server, for 2 s at most.
    """
    server_settings = {"application_name": "quota-service"}
    if settings.postgres_statement_cache:  # a pooler takes no such settings
        # A server that cannot reach us any more must not keep our locks: it ends a transaction
        # that is without a word, and looks after 15 s whether we are still there.
        idle_ms = round(settings.limits_of(TransactionLimits).idle_timeout_s * 1000)
        server_settings["idle_in_transaction_session_timeout"] = str(idle_ms)
        server_settings |= _KEEPALIVES
    pool = await asyncpg.create_pool(
        settings.postgres_dsn,
        min_size=0,
        max_size=settings.postgres_pool_max,
        timeout=settings.postgres_connect_timeout_s,
        command_timeout=settings.postgres_command_timeout_s,
        statement_cache_size=100 if settings.postgres_statement_cache else 0,
        target_session_attrs=SessionAttribute.primary,
        server_settings=server_settings,
        reset=_nothing_to_reset,
    )
    try:
        yield Ledger(pool, settings, metrics)
    finally:
        with suppress(TimeoutError):  # asyncpg then cuts the connections
            async with asyncio.timeout(_CLOSE_S):
                await pool.close()
