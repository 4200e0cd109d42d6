"""Faults in which a replica or a standby takes over: of a Cluster, of Sentinels, of Postgres."""

import asyncio

from loadtest.bench.redis_cluster import ClusterNode
from tests.faults.injection import Injection
from tests.faults.redis_faults import await_recoveries
from tests.support.servers import kill, pause, resume
from tests.support.waiting import eventually


async def node_killed(injection: Injection) -> None:
    """Kill a primary of the Cluster under load, whose nodes promote its replica by themselves."""
    cluster = injection.cluster.cluster
    lost = await _hit_node(injection)
    await asyncio.to_thread(kill, lost)
    await cluster.replaced(lost)
    await injection.last(0.5, 1.0)


async def late_node_promoted(injection: Injection) -> None:
    """Kill a primary whose replica did not hear the last seconds, and is promoted with that."""
    cluster = injection.cluster.cluster
    lost = await _hit_node(injection)
    await lost.command("ACL SETUSER", "default", "-psync", "-sync")
    await lost.command("CLIENT KILL", "TYPE", "replica")
    await injection.last(1.5, 2.5)
    await asyncio.to_thread(kill, lost)
    await cluster.replaced(lost)
    await injection.last(0.5, 1.0)


async def node_stopped(injection: Injection) -> None:
    """Let a primary stand still until it is replaced, and come back as one that knows nothing."""
    cluster = injection.cluster.cluster
    stopped = await _hit_node(injection)
    await asyncio.to_thread(pause, stopped)
    try:
        await cluster.replaced(stopped)
        await injection.last(0.2, 0.8)
    finally:
        await asyncio.to_thread(resume, stopped)
    await injection.last(0.8, 1.2)


async def node_failed_over(injection: Injection) -> None:
    """Let a replica of the Cluster take over in order: its primary waits until it has all."""
    cluster = injection.cluster.cluster
    former = await _hit_node(injection)
    replica = await cluster.replica_of(former)
    await replica.command("CLUSTER FAILOVER")
    await cluster.replaced(former)
    await injection.last(0.5, 1.0)


async def slot_moved(injection: Injection) -> None:
    """Move the slot of an exam to another primary key by key under load, and back."""
    cluster = injection.cluster.cluster
    exam = injection.rng.choice(injection.exams)
    injection.hit = {exam}
    source = await cluster.node_of(exam)
    others = [node for node in await cluster.owners() if node is not source]
    await cluster.move(exam, injection.rng.choice(others))
    await await_recoveries(injection, exam)
    await injection.last(0.5, 1.0)
    await cluster.move(exam, source)


async def _hit_node(injection: Injection) -> ClusterNode:
    """Choose an exam, and return the primary that has it, which is going to be hit."""
    cluster = injection.cluster.cluster
    owners = {exam: await cluster.node_of(exam) for exam in injection.exams}
    node = owners[injection.rng.choice(injection.exams)]
    injection.hit = {exam for exam, owner in owners.items() if owner is node}
    return node


async def watched_killed(injection: Injection) -> None:
    """Kill the primary that Sentinels watch; they promote its replica."""
    lost = await injection.sentinels.primary()
    await asyncio.to_thread(kill, lost)
    await injection.sentinels.watched.promoted(injection.sentinels.other(lost))
    await injection.last(0.5, 1.0)


async def watched_cut_off(injection: Injection) -> None:
    """Cut the primary off from Sentinels and replica while the service still reaches it, and back.

    What it acknowledges until the service leaves it is lost.
    """
    servers = injection.sentinels
    former = await servers.primary()
    await servers.watched.cut_off(former)
    await servers.watched.promoted(servers.other(former))
    await injection.last(1.0, 2.0)
    await servers.watched.cut_off(former, is_cut=False)
    await injection.last(0.8, 1.2)


async def standby_lost(injection: Injection) -> None:
    """Stop the standby for a while: what has to be durable waits, and is not answered."""
    pair = injection.pair.pair
    await asyncio.to_thread(kill, pair.standby)
    await injection.last(2.5, 3.5)
    await asyncio.to_thread(pair.standby.start)
    await eventually(pair.is_synchronous)


async def standby_promoted(injection: Injection) -> None:
    """Kill the primary of Postgres under load, and promote its standby."""
    pair = injection.pair
    await asyncio.to_thread(kill, pair.pair.primary)
    await injection.last(0.2, 0.8)
    await pair.promote()
    await injection.last(0.5, 1.0)


async def late_standby_promoted(injection: Injection) -> None:
    """Promote a standby that was away for the last seconds before the primary died.

    What the primary committed meanwhile, and showed to others, is on it alone.
    """
    pair = injection.pair
    await asyncio.to_thread(kill, pair.pair.standby)
    await injection.last(4.0, 6.0)
    await asyncio.to_thread(kill, pair.pair.primary)
    await asyncio.to_thread(pair.pair.standby.start)
    await pair.promote()
    await injection.last(0.5, 1.0)
