"""The primaries of a Redis Cluster, each with a connection of its own, and the map of the slots.

A shard lies in one slot, so every script runs on one primary, and what fails there concerns its
shards alone. The map is read again each second, and when a server says that it is out of date:

    MOVED                    the map is read again, and the call sent once more, to the primary of
                             now: its script refuses it until the shard was recovered there
    ASK                      sent once more behind ASKING, in one write
    TRYAGAIN, CLUSTERDOWN    503

Of what the nodes say of the map, that of the newest epoch holds: a node that is cut off from the
others knows nothing of a failover.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError, ResponseError

from quota_service.domain.errors import QuotaError, SeatsUnavailable
from quota_service.observability.metrics import Metrics
from quota_service.seats.connection import ScriptCall, ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.seats.majority import ask_majority
from quota_service.seats.pipelined import UnsupportedServerError
from quota_service.seats.scripts import Script
from quota_service.settings import Settings

Address = tuple[str, int]

_ASKED_MAX = 16
"""Nodes that are asked for the map at once."""


@dataclass(frozen=True, slots=True)
class _Map:
    """What a node says of the cluster: ranges of slots with their primary, and all its nodes."""

    is_ok: bool
    epoch: int
    ranges: Sequence[tuple[int, int, Address]]
    nodes: frozenset[Address]


class ClusterRunners:
    """What runs scripts on the primaries of a Cluster."""

    def __init__(
        self,
        seeds: Sequence[Address],
        pool_of: Callable[[Address], ConnectionPool],
        scripts: Mapping[str, Script],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.scripts = scripts
        self._seeds = tuple(seeds)
        self._pool_of = pool_of
        self._new_runner = lambda address: ScriptRunner(
            pool_of(address),
            scripts,
            settings,
            metrics,
            name=f"{_text(address)}: ",
            redirect=self._again,
        )
        self._up = metrics.stores_up
        self._timeout_s = settings.redis_connect_timeout_s
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._epoch = -1
        self._nodes: frozenset[Address] = frozenset(seeds)
        self._runners: dict[Address, ScriptRunner] = {}
        self._of: dict[str, ScriptRunner] = {}
        self._clients: dict[Address, Redis] = {}
        self._reading: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._faults: Mapping[str, str] = {}
        self._shown: frozenset[str] = frozenset()
        self._failures: Sequence[Exception] = (SeatsUnavailable("it has not been read yet"),)

    def of(self, shard: Shard) -> ScriptRunner:
        """Return what runs scripts on a shard; SeatsUnavailable where no primary has its slot."""
        runner = self._of.get(shard.tag)
        if runner is None:
            slot = key_slot(shard.tag.encode())
            owner = self._owners[slot]
            if owner is None:
                if not self._runners:
                    raise self._unknown()
                raise SeatsUnavailable(f"redis: no primary serves slot {slot} of {shard.tag}")
            runner = self._of[shard.tag] = self._runners[owner]
        return runner

    def each(self) -> Sequence[ScriptRunner]:
        """Return what runs scripts on each primary that is known."""
        return list(self._runners.values())

    @property
    def run(self) -> str:
        """The runs of the primaries that were spoken to last."""
        return " ".join(sorted(runner.run for runner in self._runners.values()))

    async def check(self) -> None:
        """Read the map and ask every primary; SeatsUnavailable when none answers."""
        await self.find()
        primaries = dict(self._runners)
        asked = (_fault(runner) for runner in primaries.values())
        found = dict(zip(map(_text, primaries), await asyncio.gather(*asked), strict=True))
        faults = {f"redis:{address}": fault for address, fault in found.items() if fault}
        for address, fault in found.items():
            self._up.labels(store=f"redis:{address}").set(not fault)
        for former in self._shown - found.keys():
            self._up.remove_by_labels({"store": f"redis:{former}"})
        self._shown = frozenset(found)
        uncovered = self._owners.count(None)
        if uncovered:
            faults["redis:slots"] = f"{uncovered} slots of the cluster are served by no primary"
        self._faults = faults
        if primaries and not all(found.values()):
            return
        raise SeatsUnavailable("; ".join(faults.values())) if primaries else self._unknown()

    def faults(self) -> Mapping[str, str]:
        """Return what was wrong with some of the primaries when they were last asked."""
        return self._faults

    async def clock_ms(self) -> int:
        """Return the time by the clock of the first primary that answers, in milliseconds.

        A script goes by the clock of its own server: clocks of primaries have to agree.
        """
        error: QuotaError = SeatsUnavailable("no primary of the cluster is known")
        for runner in self.each():
            try:
                return await runner.clock_ms()
            except SeatsUnavailable as unavailable:
                error = unavailable
        raise error

    async def aclose(self) -> None:
        """Close every connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        for runner in self.each():
            await runner.aclose()
        if self._closing:
            await asyncio.wait(self._closing)
        for client in self._clients.values():
            await client.aclose()

    async def find(self) -> None:
        """Read the map again; all who ask for it meanwhile share one reading.

        Where no node answers, the map stays as it is.
        """
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_map())
            self._reading.add_done_callback(self._was_read)
        await asyncio.wait({self._reading})  # a caller who leaves does not end it for the others

    def _was_read(self, reading: "asyncio.Task[None]") -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # raised in its callers, who may have left

    async def _read_map(self) -> None:
        """Ask the nodes for the map, and take the newest."""
        nodes = sorted({*self._nodes, *self._seeds})[:_ASKED_MAX]
        maps, self._failures = await ask_majority(list(map(self._map_of, nodes)), self._timeout_s)
        # Nothing is awaited from here on.
        newest = max(maps, key=lambda one: (one.is_ok, one.epoch), default=None)
        # Of a few, one may be cut off from a failover that is known here; a Cluster that was made
        # anew has a lower epoch, and most of its nodes say so.
        if newest is not None and (newest.epoch >= self._epoch or 2 * len(maps) > len(nodes)):
            self._take(newest)
            for gone in self._clients.keys() - self._nodes - set(self._seeds):
                self._close(self._clients.pop(gone))

    def _take(self, newest: _Map) -> None:
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary in newest.ranges:
            owners[first : last + 1] = [primary] * (last + 1 - first)
        self._nodes, self._epoch = newest.nodes, newest.epoch
        if owners == self._owners:
            return
        self._owners = owners
        primaries = {primary for _, _, primary in newest.ranges}
        for primary in primaries - self._runners.keys():
            self._runners[primary] = self._new_runner(primary)  # type: ignore[no-untyped-call]
        for gone in self._runners.keys() - primaries:
            self._close(self._runners.pop(gone))
        self._of.clear()

    def _close(self, left: ScriptRunner | Redis) -> None:
        """Close the connections to a node that is left, in the background."""
        closing = asyncio.get_running_loop().create_task(left.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _unknown(self) -> SeatsUnavailable:
        """Return that no node has told us the map, and why."""
        causes = "; ".join(map(str, self._failures))
        error = SeatsUnavailable(f"redis: the map of the cluster is not known: {causes}")
        error.__cause__ = self._failures[0] if self._failures else None
        return error

    async def _map_of(self, node: Address) -> "_Map | Exception":
        """Return what a node says of the cluster, or why it does not."""
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = Redis.from_pool(self._pool_of(node))
        try:
            info = await client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
            slots = await client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if "cluster support disabled" not in str(error):
                return error
            return UnsupportedServerError(f"{_text(node)} is no node of a Cluster")
        except (RedisError, OSError, TimeoutError) as error:
            return error

        def address(entry: Sequence[Any]) -> Address:
            named = str(entry[0] or "?")
            return (node[0] if named == "?" else named, int(entry[1]))

        return _Map(
            info["cluster_state"] == "ok",
            int(info["cluster_current_epoch"]),
            [(first, last, address(primary)) for first, last, primary, *_ in slots],
            frozenset(address(entry) for _, _, *entries in slots for entry in entries),
        )

    async def _again(self, refusal: AskError, batch: Sequence[ScriptCall]) -> Any:
        """Send calls once more that a primary has refused for another; return the answer."""
        is_asking = not isinstance(refusal, MovedError)
        try:
            if is_asking:
                runner = self._runners.get((refusal.host, refusal.port))
            else:
                await self.find()
                owner = self._owners[refusal.slot_id]
                runner = None if owner is None else self._runners[owner]
            if runner is None:
                return SeatsUnavailable(f"redis: slot {refusal.slot_id} is being moved")
            return await runner.redirected(batch, is_asking=is_asking)
        except (SeatsUnavailable, RedisError, OSError) as error:
            return error


async def _fault(runner: ScriptRunner) -> str:
    """Return why a primary cannot serve us, "" when it can."""
    try:
        await runner.check()
    except SeatsUnavailable as error:
        return str(error)
    return ""


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
