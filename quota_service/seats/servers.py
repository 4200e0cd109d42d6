"""Which servers of Redis there are, by `QUOTA_REDIS_URL`, and which of them has a shard.

    redis://HOST:PORT/DB                            one server; also rediss:// and unix://
    redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB    the primary that Sentinels know as NAME
    redis+cluster://HOST:PORT,HOST:PORT             a Cluster, found by any of its nodes

`rediss+sentinel` and `rediss+cluster` speak TLS. User, password and options stand where they stand
in the URL of one server, and hold for every server; `sentinel_username` and `sentinel_password` are
options of Sentinels. Connecting, TLS and authentication are redis-py's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quota_service.observability.metrics import Metrics
from quota_service.seats.cluster import Address, ClusterRunners
from quota_service.seats.connection import ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.seats.majority import ask_majority
from quota_service.seats.scripts import Script
from quota_service.settings import Settings, SettingsError

_ONE_SERVER = ("redis", "rediss", "unix")
_SEVERAL = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}
_NODES_MAX = 64
"""Addresses in a URL."""
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


class Runners(Protocol):
    """What runs scripts, for each shard on the server that has it."""

    scripts: Mapping[str, Script]

    def of(self, shard: Shard) -> ScriptRunner:
        """Return what runs scripts on a shard; SeatsUnavailable where no server has it."""
        ...

    @property
    def run(self) -> str:
        """The runs of the servers that were spoken to last."""
        ...

    async def find(self) -> None:
        """Find out which servers there are, where the URL does not say it; none need answer."""
        ...

    async def check(self) -> None:
        """Return when a server answers; SeatsUnavailable otherwise."""
        ...

    def faults(self) -> Mapping[str, str]:
        """Return what is wrong with some of several servers, in words by the part concerned."""
        ...

    async def clock_ms(self) -> int:
        """Return the time by the clock of Redis, in milliseconds since the epoch."""
        ...

    def each(self) -> Sequence[ScriptRunner]:
        """Return what runs scripts on each server that is known."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class AgreedSentinels(Sentinel):
    """Sentinels of which a majority must answer: the newest of their answers holds.

    One that is cut off from the others goes on naming the primary of before. All who ask at the
    same time share the answer.
    """

    _asking: asyncio.Task[Address] | None = None

    async def discover_master(self, service_name: str) -> Address:
        """Return the address of the primary; MasterNotFoundError where there is no majority."""
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask(service_name))
            self._asking.add_done_callback(self._was_answered)
        asking = self._asking
        await asyncio.wait({asking})  # a caller who leaves does not end it for the others
        if asking.cancelled():
            raise MasterNotFoundError("the connections to the Sentinels were closed")
        return asking.result()

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await super().aclose()

    def _was_answered(self, asking: asyncio.Task[Address]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # raised in its callers, who may have left

    async def _ask(self, service_name: str) -> Address:
        asks = [self._state(each, service_name) for each in self.sentinels]
        known, errors = await ask_majority(asks, self.sentinel_kwargs["socket_connect_timeout"])
        if len(known) * 2 <= len(self.sentinels):
            causes = "; ".join(map(str, errors))
            raise MasterNotFoundError(
                f"{len(known)} of {len(self.sentinels)} Sentinels know a primary called "
                f"{service_name!r}: {causes}"
            )
        newest = max(known, key=lambda state: int(state["config-epoch"]))
        return str(newest["ip"]), int(newest["port"])

    async def _state(self, sentinel: Any, service_name: str) -> Mapping[str, Any] | Exception:
        """Return how a Sentinel has the primary, or why it does not say."""
        try:
            states = await sentinel.sentinel_masters()
        except (RedisError, OSError, TimeoutError) as error:
            return error
        state: Mapping[str, Any] | None = states.get(service_name)
        return MasterNotFoundError("it knows none") if state is None else state


class SentinelRunner(ScriptRunner):
    """Runs scripts on the primary that Sentinels name, whichever that is when it connects."""

    def __init__(
        self,
        pool: SentinelConnectionPool,
        scripts: Mapping[str, Script],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        super().__init__(pool, scripts, settings, metrics, address=pool.get_master_address)
        self._sentinels = pool.sentinel_manager

    async def aclose(self) -> None:
        """Close the connections to the primary and to the Sentinels."""
        await super().aclose()
        await self._sentinels.aclose()


def open_runners(settings: Settings, scripts: Mapping[str, Script], metrics: Metrics) -> Runners:
    """Return what runs scripts on the servers of `QUOTA_REDIS_URL`; nothing is opened yet.

    Raises SettingsError where the URL names no servers.
    """
    scheme, _, rest = settings.redis_url.partition("://")
    if scheme not in _SEVERAL:
        return ScriptRunner(redis_pool(settings), scripts, settings, metrics)
    secure, _, kind = scheme.partition("+")
    addresses, url = _several(f"{secure}://{rest}", _DEFAULT_PORTS[kind])
    kwargs = _from_url(url, settings).connection_kwargs
    connection_class: type[Connection] = SSLConnection if secure == "rediss" else Connection
    if kind == "cluster":
        if kwargs.pop("db", 0):
            raise SettingsError("QUOTA_REDIS_URL: a Cluster has no databases but 0")

        def pool_of(address: Address) -> ConnectionPool:
            at = {**kwargs, "host": address[0], "port": address[1]}
            return ConnectionPool(connection_class=connection_class, **at)

        return ClusterRunners(addresses, pool_of, scripts, settings, metrics)
    pool = _sentinel_pool(addresses, url, kwargs, is_secure=secure == "rediss")
    return SentinelRunner(pool, scripts, settings, metrics)


def redis_pool(settings: Settings) -> ConnectionPool:
    """Return what makes connections to one server by the settings; nothing is opened yet."""
    url = settings.redis_url
    if url.partition("://")[0] not in _ONE_SERVER:
        schemes = ", ".join(f"{scheme}://" for scheme in (*_ONE_SERVER, *_SEVERAL))
        raise SettingsError(f"QUOTA_REDIS_URL must start with one of {schemes}")
    if "," in urlsplit(url).netloc.rpartition("@")[2]:
        raise SettingsError(
            "QUOTA_REDIS_URL lists several servers: a Cluster is redis+cluster://, Sentinels are "
            "redis+sentinel://"
        )
    return _from_url(url, settings)


def _from_url(url: str, settings: Settings) -> ConnectionPool:
    try:
        return ConnectionPool.from_url(
            url,
            decode_responses=True,
            encoding_errors="backslashreplace",  # what is not text is refused where it is read
            socket_connect_timeout=settings.redis_connect_timeout_s,
            socket_timeout=None,  # every batch has a limit of its own
            retry=Retry(NoBackoff(), 0),
            client_name="quota-service",
            driver_info=None,  # else it sends CLIENT SETINFO, which Redis 7.0 has not
        )
    except ValueError as error:
        raise SettingsError(f"QUOTA_REDIS_URL: {error}") from error


def _several(url: str, default_port: int) -> tuple[list[Address], str]:
    """Return the addresses a URL lists, and the URL with the first of them alone."""
    scheme, rest = url.split("://", 1)
    netloc, slash, path = rest.partition("/")
    netloc, question, query = netloc.partition("?") if not slash else (netloc, "", "")
    user, at, hosts = netloc.rpartition("@")
    addresses = []
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host}")
            port = parts.port or default_port
        except ValueError as error:
            raise SettingsError(f"QUOTA_REDIS_URL: {host!r} is no address: {error}") from error
        if not parts.hostname:
            raise SettingsError(f"QUOTA_REDIS_URL: {host!r} is no address; it takes HOST:PORT")
        addresses.append((parts.hostname, port))
    if len(addresses) > _NODES_MAX:
        raise SettingsError(f"QUOTA_REDIS_URL lists more than {_NODES_MAX} addresses")
    first = hosts.split(",", 1)[0]
    return addresses, f"{scheme}://{user}{at}{first}{slash}{path}{question}{query}"


def _sentinel_pool(
    addresses: Sequence[Address], url: str, kwargs: dict[str, Any], *, is_secure: bool
) -> SentinelConnectionPool:
    name, _, database = urlsplit(url).path.strip("/").partition("/")
    if not name or (database and not database.isdecimal()):
        raise SettingsError(
            "QUOTA_REDIS_URL: Sentinels need the name of the primary in the path, as in "
            "redis+sentinel://HOST:PORT,HOST:PORT/NAME/0"
        )
    for option in ("host", "port"):
        kwargs.pop(option, None)
    kwargs["db"] = int(database or 0)
    credentials = {
        option.removeprefix("sentinel_"): kwargs.pop(option)
        for option in _SENTINEL_OPTIONS
        if option in kwargs
    }
    timeout_s = kwargs["socket_connect_timeout"]
    sentinels = AgreedSentinels(  # type: ignore[no-untyped-call]
        addresses,
        sentinel_kwargs={
            **credentials,
            "ssl": is_secure,
            "decode_responses": True,
            "socket_connect_timeout": timeout_s,
            "socket_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": 2,
        },
    )
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name, sentinels, ssl=is_secure, **kwargs
    )
