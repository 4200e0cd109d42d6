"""A Cluster, and a pair with Sentinels, as `deploy/redis/` configures them, with the service."""

import asyncio
import dataclasses
import itertools
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio

from loadtest.bench.redis_cluster import redis_cluster
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.embedded.programs import find_redis_binary
from quota_service.seats.fitness import server_warnings
from tests.support.exams import exam_definition
from tests.support.opening_day import EXAM, live_through_a_day
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.programs import need_program
from tests.support.servers import kill
from tests.support.shipped_replicas import ShippedNode, ShippedReplica, installed
from tests.support.shipped_site import site_on
from tests.support.shipped_stores import DEPLOY, PASSWORD, ShippedPostgres
from tests.support.waiting import eventually

PATIENCE_MS = round(LIMIT_S * 1000)
"""How long Sentinels wait for a primary that lives."""


@dataclasses.dataclass(frozen=True, slots=True)
class At:
    """What the service is told of its Redis."""

    url: str


async def refused(nodes: list[ShippedNode]) -> list[object]:
    """Return what the users of the service, replicas and Sentinels were not allowed to do."""
    told: list[object] = []
    for node in nodes:
        told += await node.command("ACL LOG")
    return told


async def test_a_whole_day_is_lived_on_a_cluster(empty: ShippedPostgres, tmp_path: Path) -> None:
    async with redis_cluster(tmp_path, has_replicas=True, make=ShippedNode) as cluster:
        for primary in cluster.primaries:
            assert isinstance(primary, ShippedNode)
            await eventually(partial(_has_good_replica, primary))
        async with site_on(At(cluster.url), empty) as site:
            warned = await server_warnings(site.service.stores.runners)
            await live_through_a_day(site)
        nodes = [node for node in cluster.nodes if isinstance(node, ShippedNode)]
        assert (warned, await refused(nodes)) == ([], [])


async def test_a_pair_that_sentinels_watch_fails_over(
    empty: ShippedPostgres, tmp_path: Path
) -> None:
    numbers = itertools.count()
    one, two = (ShippedReplica(tmp_path / name) for name in ("one", "two"))
    sentinels: list[subprocess.Popen[bytes]] = []
    try:
        for server in (one, two):
            await asyncio.to_thread(server.start)
        await two.command("REPLICAOF", LOOPBACK, one.port)
        first = free_loopback_port(3)
        ports = list(range(first, first + 3))
        sentinels += [_start(tmp_path / f"{port}", port, one.port) for port in ports]
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        url = At(f"redis+sentinel://quota:{PASSWORD}@{hosts}/seats/0")
        await eventually(lambda: _names(ports, one.port))
        await eventually(partial(_has_good_replica, one))

        async with site_on(url, empty) as site:
            await live_through_a_day(site)
            kill(one)
            await _suspect_after(ports, 500)
            await eventually(lambda: _names(ports, two.port), within_s=START_LIMIT_S)
            await _suspect_after(ports, PATIENCE_MS)

            async def is_served() -> bool:
                return (await site.client.reserve(f"after-{next(numbers)}")).status == 201

            assert not await is_served()  # a primary without a replica takes no seats
            await asyncio.to_thread(one.start)
            await eventually(is_served, within_s=START_LIMIT_S)
        assert await refused([two]) == []
    finally:
        for sentinel in sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in (one, two):
            server.stop()


@pytest.mark.system
async def test_an_exam_is_moved_to_another_primary(empty: ShippedPostgres, tmp_path: Path) -> None:
    numbers = itertools.count()
    async with redis_cluster(tmp_path, has_replicas=True, make=ShippedNode) as cluster:
        for primary in cluster.primaries:
            assert isinstance(primary, ShippedNode)
            await eventually(partial(_has_good_replica, primary))
        old = await cluster.node_of(EXAM)
        new, other = [primary for primary in cluster.primaries if primary is not old]
        nodes = [node.address for node in (old, new, other)]
        async with site_on(At(cluster.url), empty) as site:
            assert (await site.client.import_exam(exam_definition(EXAM))).status == 201
            await site.service.stores.registry.refresh()
            held = (await site.client.reserve("before")).json

            async def is_served() -> bool:
                return (await site.client.reserve(f"after-{next(numbers)}")).status == 201

            without_rights = await asyncio.to_thread(_move, *nodes, password="another")
            stays = await cluster.node_of(EXAM)
            moved = await asyncio.to_thread(_move, *nodes)
            await eventually(is_served)
            reservation = await site.client.get(f"/v1/reservations/{held['id']}")

        assert "WRONGPASS" in without_rights.stderr
        assert (without_rights.returncode != 0, stays) == (True, old)
        assert (moved.returncode, await cluster.node_of(EXAM)) == (0, new), moved.stderr
        assert reservation.json["state"] == "held"


def _move(*nodes: str, password: str = PASSWORD) -> "subprocess.CompletedProcess[str]":
    """Move the exam from the first primary to the second, as ops do."""
    need_program("redis-cli")
    environment = {**os.environ, "OPS_PASSWORD": password}
    command = [DEPLOY / "redis" / "move-exam.sh", EXAM, *nodes]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def _has_good_replica(server: ShippedNode) -> bool:
    """Return whether a primary takes writes: a replica that does not lag is with it."""
    return bool((await server.command("INFO", "replication"))["min_slaves_good_slaves"])


async def _names(ports: list[int], primary: int) -> bool:
    """Return whether every Sentinel knows the others, a replica, and this primary."""
    for port in ports:
        async with redis.asyncio.Redis(port=port, decode_responses=True) as client:
            (state,) = (await client.execute_command("SENTINEL MASTERS")).values()  # type: ignore[no-untyped-call]
        seen = (state["port"], state["num-other-sentinels"], state["num-slaves"])
        if seen != (primary, 2, 1):
            return False
    return True


async def _suspect_after(ports: list[int], down_after_ms: int) -> None:
    """Let every Sentinel take a primary for lost that has not answered for so long."""
    words = ("SENTINEL SET", "seats", "down-after-milliseconds", down_after_ms)
    for port in ports:
        async with redis.asyncio.Redis(port=port, decode_responses=True) as client:
            await client.execute_command(*words)  # type: ignore[no-untyped-call]


def _start(folder: Path, port: int, primary: int) -> "subprocess.Popen[bytes]":
    """Start a Sentinel with the file that is shipped, but for its ports and its times.

    It is patient with a primary that a busy machine keeps from answering; a failover that did not
    come about is tried again soon.
    """
    configuration = installed(folder) / "sentinel.conf"
    text = configuration.read_text()
    for before, after in (
        ("port 26379", f"port {port}"),
        ("dir /var/lib/redis-sentinel", f"dir {folder}"),
        ("redis-1.internal 6379", f"{LOOPBACK} {primary}"),
        ("down-after-milliseconds seats 5000", f"down-after-milliseconds seats {PATIENCE_MS}"),
        ("failover-timeout seats 60000", "failover-timeout seats 3000"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    configuration.write_text(text)
    return subprocess.Popen(
        [find_redis_binary(), configuration, "--sentinel", "--logfile", folder / "log"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
