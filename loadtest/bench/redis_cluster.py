"""A Redis Cluster of our own: primaries with the slots shared out among them, and replicas."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from loadtest.bench.waiting import until
from quota_service.embedded import EmbeddedRedis
from quota_service.embedded.ports import free_loopback_port

_KEYS_A_STEP = 1000
_SETTLE_LIMIT_S = 60.0


class ClusterNode(EmbeddedRedis):
    """One server of a Cluster."""

    def __init__(self, data_dir: Path, *, node_timeout_ms: int = 1500, **options: Any) -> None:
        super().__init__(data_dir, **options)
        self._node_timeout_ms = node_timeout_ms
        self._bus_port = free_loopback_port()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return self.url.removesuffix("/0").rpartition("/")[2].rpartition("@")[2]

    @property
    def admin_url(self) -> str:
        """The URL of a user who may do everything."""
        return self.url

    @property
    def port(self) -> int:
        """The port of clients."""
        return int(self.address.rpartition(":")[2])

    def _command(self, port: int) -> Sequence[str | Path]:
        return (
            *super()._command(port),
            *("--cluster-enabled", "yes", "--cluster-port", str(self._bus_port)),
            *("--cluster-node-timeout", str(self._node_timeout_ms)),
            *("--cluster-require-full-coverage", "no"),
            *("--cluster-replica-validity-factor", "0"),
        )

    async def command(self, *words: str | int) -> Any:
        """Run one command here."""
        async with redis.asyncio.Redis.from_url(self.admin_url, decode_responses=True) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def id(self) -> str:
        """Return the node's own name."""
        return str(await self.command("CLUSTER", "MYID"))

    @property
    def meeting(self) -> tuple[str, str, int, int]:
        """The command by which another node gets to know this one."""
        host, _, port = self.address.partition(":")
        return ("CLUSTER MEET", host, int(port), self._bus_port)


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """The nodes: those that were primaries first, and a replica of each where there are any."""

    primaries: Sequence[ClusterNode]
    replicas: Sequence[ClusterNode]

    @property
    def nodes(self) -> Sequence[ClusterNode]:
        """Every node."""
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """What `QUOTA_REDIS_URL` is."""
        user, at, _ = self.primaries[0].url.removeprefix("redis://").rpartition("@")
        return f"redis+cluster://{user}{at}{','.join(node.address for node in self.nodes)}"

    def exams(self, count: int, *, on: ClusterNode | None = None) -> list[str]:
        """Return ids of exams, spread over the primaries in turn, or all on one."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            place = self.primaries.index(on) if on else len(found) % len(self.primaries)
            exam, number = f"exam-{number}", number + 1
            slots = REDIS_CLUSTER_HASH_SLOTS // len(self.primaries) + 1
            if slot_of(exam) // slots == place:
                found.append(exam)
        return found

    async def owner(self, exam: str, *, asked: ClusterNode | None = None) -> str:
        """Return the address of the primary that has an exam, as a node knows it."""
        node = asked or next(node for node in self.nodes if node.pid is not None)
        slot = slot_of(exam)
        for first, last, primary, *_ in await node.command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return f"{primary[0]}:{primary[1]}"
        return ""

    async def node_of(self, exam: str) -> ClusterNode:
        """Return the primary that has an exam."""
        address = await self.owner(exam)
        return next(node for node in self.nodes if node.address == address)

    def exam_in(self, place: int, name: str) -> str:
        """Return an id that begins with a name, in one of the shares of the slots."""
        share = REDIS_CLUSTER_HASH_SLOTS // len(self.primaries) + 1
        wanted = place % len(self.primaries)
        ids = (f"{name}-{number}" for number in itertools.count())
        return next(exam for exam in ids if slot_of(exam) // share == wanted)

    async def owners(self) -> "list[ClusterNode]":
        """Return the nodes that have slots now, as a running one knows them."""
        asked = next(node for node in self.nodes if node.pid is not None)
        found = {f"{entry[2][0]}:{entry[2][1]}" for entry in await asked.command("CLUSTER SLOTS")}
        return [node for node in self.nodes if node.address in found]

    async def replica_of(self, primary: ClusterNode) -> ClusterNode:
        """Return a replica of a primary that is in step."""
        _, _, followers = await primary.command("ROLE")
        ports = {int(port) for _, port, _ in followers}
        return next(node for node in self.nodes if node.port in ports)

    async def replaced(self, former: ClusterNode) -> None:
        """Return when no other node takes one for a primary any more, and all slots are served."""

        async def is_replaced() -> bool:
            for node in self.nodes:
                if node is former or node.pid is None:
                    continue
                info = await node.command("CLUSTER INFO")
                slots = await node.command("CLUSTER SLOTS")
                owners = {f"{entry[2][0]}:{entry[2][1]}" for entry in slots}
                if (
                    former.address in owners
                    or int(info["cluster_slots_ok"]) != REDIS_CLUSTER_HASH_SLOTS
                ):
                    return False
            return True

        await until(is_replaced, "other nodes to take the place of one")

    async def replicated(self) -> None:
        """Return when every primary has its replica, which is in step."""

        async def is_replicated() -> bool:
            roles = [await node.command("ROLE") for node in self.nodes]
            return len([role for role in roles if role[0] == "master"]) == len(
                self.primaries
            ) and all(role[0] == "master" or role[3] == "connected" for role in roles)

        await self.settled()
        await until(is_replicated, "every primary to have its replica")

    async def move(self, exam: str, target: ClusterNode) -> None:
        """Move the slot of an exam to another primary, key by key, as an operator does."""
        slot, source = slot_of(exam), await self.node_of(exam)
        ours, theirs = await source.id(), await target.id()
        await target.command("CLUSTER SETSLOT", slot, "IMPORTING", ours)
        await source.command("CLUSTER SETSLOT", slot, "MIGRATING", theirs)
        host, _, port = target.address.partition(":")
        while keys := await source.command("CLUSTER GETKEYSINSLOT", slot, _KEYS_A_STEP):
            await source.command("MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)
        for node in (target, *await self.owners()):
            await node.command("CLUSTER SETSLOT", slot, "NODE", theirs)

    async def settled(self) -> None:
        """Return when every running node has all slots with primaries that run."""

        async def is_settled() -> bool:
            running = [node for node in self.nodes if node.pid is not None]
            alive = {node.address for node in running}
            for node in running:
                info = await node.command("CLUSTER INFO")
                slots = await node.command("CLUSTER SLOTS")
                covered = sum(last + 1 - first for first, last, *_ in slots)
                owners = {f"{entry[2][0]}:{entry[2][1]}" for entry in slots}
                if (
                    info["cluster_state"] != "ok"
                    or covered != REDIS_CLUSTER_HASH_SLOTS
                    or not owners <= alive
                ):
                    return False
            return True

        await until(is_settled, "every slot to have a primary", within_s=_SETTLE_LIMIT_S)


def slot_of(exam: str) -> int:
    """Return the slot in which an exam lies."""
    return key_slot(f"{{{exam}:0}}".encode())


@asynccontextmanager
async def redis_cluster(
    folder: Path,
    *,
    primaries: int = 3,
    has_replicas: bool = False,
    make: Callable[[Path], ClusterNode] = ClusterNode,
) -> AsyncIterator[RedisCluster]:
    """Run a Cluster with its data in a folder; yields once it serves all slots."""
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(primaries * (2 if has_replicas else 1)):
            node = make(folder / f"node-{number}")
            stack.callback(node.stop)
            await asyncio.to_thread(node.start)
            await node.command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            nodes.append(node)
        first, *others = nodes
        for node in others:
            await first.command(*node.meeting)
        share = REDIS_CLUSTER_HASH_SLOTS // primaries + 1
        for number, node in enumerate(nodes[:primaries]):
            last = min((number + 1) * share, REDIS_CLUSTER_HASH_SLOTS) - 1
            await node.command("CLUSTER ADDSLOTSRANGE", number * share, last)
        cluster = RedisCluster(nodes[:primaries], nodes[primaries:])

        async def have_met() -> bool:
            infos = [await node.command("CLUSTER INFO") for node in nodes]
            return all(info["cluster_known_nodes"] == str(len(nodes)) for info in infos)

        await until(have_met, "the nodes to know one another", within_s=_SETTLE_LIMIT_S)
        for primary, replica in zip(cluster.primaries, cluster.replicas, strict=False):
            await replica.command("CLUSTER REPLICATE", await primary.id())

        async def follow() -> bool:
            roles = [await replica.command("ROLE") for replica in cluster.replicas]
            return all(role[0] == "slave" and role[3] == "connected" for role in roles)

        await until(follow, "the replicas to follow", within_s=_SETTLE_LIMIT_S)
        await cluster.settled()
        yield cluster
