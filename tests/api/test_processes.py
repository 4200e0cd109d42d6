"""Several API processes on one port: their deaths, their end, and what each tells of itself."""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from quota_service.app import processes
from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError
from quota_service.ledger.api_keys import Scope
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import SEATS, make_exam
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.raw_http import connect
from tests.support.redis_clients import writes_held
from tests.support.sockets import client_ports
from tests.support.steady_frontend import SteadyConnection
from tests.support.supervised import Samples, Supervised, supervised
from tests.support.waiting import eventually

MANY_SEATS = {**SEATS, "jinan": {**SEATS["jinan"], "general": 100_000}}
RESERVING = {"method": "POST", "route": "/v1/exams/{exam}/reservations", "status": "201"}
MANY = 700
"""Connections that are more than one turn of the loop accepts, in each of two processes."""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: quota\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """`serve --workers 2`, and a client of its port."""

    run: Supervised
    api: ApiClient

    async def is_complete(self) -> bool:
        """Whether both processes serve."""
        admins = self.run.admins()
        if len(admins) < 2:
            return False
        return [await self.is_ready(admin) for admin in admins.values()] == [True, True]

    async def is_ready(self, base: str) -> bool:
        """Whether what listens there, if anything does, is ready."""
        try:
            return (await self.run.get("/readyz", base=base))[0] == 200
        except aiohttp.ClientConnectionError:
            return False

    async def has_seen_an_end(self) -> bool:
        """Whether a process has ended: all of its sockets are closed then."""
        return bool(self.run.said("API process ended and is replaced"))

    async def is_draining(self) -> bool:
        """Whether no process is ready any more."""
        return not any([await self.is_ready(admin) for admin in self.run.admins().values()])


@asynccontextmanager
async def a_pair(settings: Settings, service: Service) -> AsyncIterator[Pair]:
    await import_exam(service.stores.maintenance, make_exam(seats=MANY_SEATS))
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        supervised(dataclasses.replace(settings, shutdown_drain_s=LIMIT_S), 2) as run,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Pair(run, ApiClient(session, run.api, frontend, ops))


@pytest.fixture
async def pair(settings: Settings, service: Service) -> AsyncIterator[Pair]:
    async with a_pair(settings, service) as made:
        yield made


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def refuses_connections(url: str) -> bool:
    try:
        _, writer = await connect(url)
    except ConnectionError:
        return True
    writer.close()
    return False


async def all_answered(connections: Sequence[SteadyConnection], *, more: int) -> None:
    """Wait until each connection that is not broken has had so many more answers."""
    wanted = {each: each.answered + more for each in connections}

    async def are_answered() -> bool:
        return all(each.is_broken or each.answered >= n for each, n in wanted.items())

    await eventually(are_answered)


async def connections_with_both(pair: Pair) -> list[SteadyConnection]:
    """Open connections, eight at least, until each process serves two of them."""
    connections: list[SteadyConnection] = []

    async def both_serve() -> bool:
        connections.append(SteadyConnection(pair.api))
        await all_answered(connections, more=1)
        ours = {each.port for each in connections}
        shares = [len(ours & client_ports(pid)) for pid in pair.run.pids().values()]
        return len(connections) >= 8 and min(shares) >= 2

    await eventually(both_serve)
    return connections


async def work_of_both(pair: Pair, client: "redis.asyncio.Redis") -> "list[asyncio.Task[Reply]]":
    """Reserve, while writes are held, until each process has a request at work and all are read."""
    reserving: list[asyncio.Task[Reply]] = []

    async def both_have_work() -> bool:
        candidate = f"candidate-{len(reserving)}"
        reserving.append(asyncio.create_task(pair.api.reserve(candidate)))
        return await are_blocked(client, 2)

    async def all_are_at_work() -> bool:
        scraped = [await pair.run.scrape(admin) for admin in pair.run.admins().values()]
        at_work = [value(samples, "quota_requests_at_work", work="reserve") for samples in scraped]
        return sum(at_work) == len(reserving)

    await eventually(both_have_work)
    await eventually(all_are_at_work)
    return reserving


async def are_blocked(client: "redis.asyncio.Redis", count: int) -> bool:
    """Whether commands of so many connections wait in Redis."""
    return int((await client.info("clients"))["blocked_clients"]) >= count


async def test_each_process_tells_what_it_served_on_its_own_admin_port(pair: Pair) -> None:
    connections = await connections_with_both(pair)
    for each in connections:
        await each.stop()
    answered = sum(each.answered for each in connections)

    scraped = [await pair.run.scrape(admin) for admin in pair.run.admins().values()]

    histogram = "quota_http_request_duration_seconds_count"
    counts = [value(samples, histogram, **RESERVING) for samples in scraped]
    assert min(counts) > 0
    assert sum(counts) == answered
    for samples, count in zip(scraped, counts, strict=True):
        assert value(samples, "quota_reservations_total", exam="exam-1", outcome="held") == count
        assert value(samples, "quota_store_up", store="redis") == 1
        assert ("process_resident_memory_bytes", frozenset()) in samples
        assert not any(name.startswith("quota_seats") for name, _ in samples)


async def test_a_process_killed_under_load_is_replaced_and_costs_the_other_no_request(
    pair: Pair, evidence: Evidence
) -> None:
    connections = await connections_with_both(pair)
    pids = pair.run.pids()
    doomed = client_ports(pids[1]) & {each.port for each in connections}

    os.kill(pids[1], signal.SIGKILL)
    await eventually(pair.has_seen_an_end)
    late = [SteadyConnection(pair.api) for _ in range(4)]
    await all_answered([*connections, *late], more=5)
    await eventually(pair.is_complete, within_s=START_LIMIT_S)
    for each in (*connections, *late):
        await each.stop()
    pids_after = pair.run.pids()

    assert {each.port for each in connections if each.is_broken} == doomed
    assert len(doomed) >= 2
    assert not any(each.is_broken for each in late)
    assert pids_after[2] == pids[2]
    assert pids_after[1] != pids[1]
    (told,) = pair.run.said("API process ended and is replaced")
    assert (told["number"], told["status"], told["pause_s"]) == (1, -signal.SIGKILL, 0)
    await evidence.assert_books_balance()


async def test_a_shutdown_lets_every_process_finish_also_when_it_is_asked_for_twice(
    pair: Pair, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    pids = pair.run.pids()
    async with writes_held(redis_client):
        reserving = await work_of_both(pair, redis_client)
        pair.run.process.send_signal(signal.SIGTERM)
        await eventually(pair.is_draining)
        await eventually(lambda: refuses_connections(pair.run.api))
        pair.run.process.send_signal(signal.SIGINT)
        assert not any(task.done() for task in reserving)
    replies = await asyncio.gather(*reserving)
    status = await pair.run.end()

    assert {reply.status for reply in replies} == {201}
    assert status == 0
    assert len(await evidence.reservations()) == len(replies)
    assert not any(runs(pid) for pid in pids.values())
    assert await refuses_connections(pair.run.admin)
    assert pair.run.said("API process ended and is replaced") == []
    assert pair.run.said("API process did not shut down cleanly") == []
    await evidence.assert_books_balance()


async def test_a_shutdown_serves_connections_that_no_process_has_accepted_yet(pair: Pair) -> None:
    pids = pair.run.pids().values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    waiting = [await connect(pair.run.api) for _ in range(MANY)]
    for _, writer in waiting:
        writer.write(LIVEZ)
        await writer.drain()

    pair.run.process.send_signal(signal.SIGTERM)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    answers = [await reader.read() for reader, _ in waiting]
    for _, writer in waiting:
        writer.close()

    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * MANY
    assert await pair.run.end() == 0


@pytest.mark.settings(shutdown_notice_s=5.0)
async def test_a_balancer_hears_of_the_shutdown_from_every_process_and_is_served_till_then(
    pair: Pair,
) -> None:
    pair.run.process.send_signal(signal.SIGTERM)
    await eventually(pair.is_draining)
    told = [await pair.is_ready(pair.run.api) for _ in range(8)]
    served = [(await pair.api.reserve(f"candidate-{i}")).status for i in range(4)]

    assert told == [False] * 8
    assert served == [201] * 4
    assert await pair.run.end() == 0


async def test_processes_of_a_killed_parent_finish_what_is_in_flight_and_end(
    pair: Pair, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    pids = pair.run.pids().values()

    async def have_ended() -> bool:
        return not any(runs(pid) for pid in pids)

    async with writes_held(redis_client):
        reserving = asyncio.create_task(pair.api.reserve("candidate-1"))
        await eventually(lambda: are_blocked(redis_client, 1))
        pair.run.process.kill()
        await eventually(lambda: refuses_connections(pair.run.api))
    reply = await reserving
    await eventually(have_ended)
    await pair.run.followed()

    assert reply.status == 201
    assert len(pair.run.said("stopped")) == 2
    await evidence.assert_books_balance()


async def test_a_process_that_somebody_asks_to_end_finishes_and_is_replaced(
    pair: Pair, redis_client: "redis.asyncio.Redis"
) -> None:
    pids = pair.run.pids()

    async def is_draining() -> bool:
        return not await pair.is_ready(pair.run.admins()[2])

    async with writes_held(redis_client):
        reserving = await work_of_both(pair, redis_client)
        os.kill(pids[2], signal.SIGTERM)
        await eventually(is_draining)
    replies = await asyncio.gather(*reserving)
    await eventually(pair.has_seen_an_end)
    meanwhile = [(await pair.api.reserve(f"late-{i}")).status for i in range(4)]
    await eventually(pair.is_complete, within_s=START_LIMIT_S)

    assert {reply.status for reply in replies} == {201}
    assert meanwhile == [201] * 4
    assert pair.run.pids()[1] == pids[1]
    assert pair.run.pids()[2] != pids[2]
    (told,) = pair.run.said("API process ended and is replaced")
    assert (told["number"], told["status"]) == (2, 0)


@pytest.mark.settings(processes.RestartLimits(started_after_s=3600, early_deaths_max=1))
async def test_a_process_that_dies_again_and_again_ends_the_service_with_an_error(
    pair: Pair,
) -> None:
    first = pair.run.pids()[1]
    os.kill(first, signal.SIGKILL)
    await eventually(pair.has_seen_an_end)
    await eventually(pair.is_complete, within_s=START_LIMIT_S)
    pids = pair.run.pids()
    os.kill(pids[1], signal.SIGKILL)
    status = await asyncio.wait_for(pair.run.process.wait(), START_LIMIT_S)

    assert status == 1
    assert pids[1] != first
    assert not any(runs(pid) for pid in pids.values())
    await pair.run.followed()
    assert pair.run.said("stopped", pid=pids[2])
    assert "API process 1 ended 2 times in a row soon after its start" in pair.run.tail


async def test_the_pause_before_a_start_grows_with_each_early_death(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "_COMMAND", (sys.executable, "-S", "-c", "raise SystemExit(3)"))
    settings = Settings(port=0, admin_port=0).with_limits(
        processes.RestartLimits(early_deaths_max=4, pause_max_s=0.3)
    )

    with pytest.raises(QuotaError, match=r"process 1 ended 5 times in a row.* with status 3"):
        await processes.serve_in_processes(settings, 1)

    pauses = [getattr(record, "pause_s", None) for record in caplog.records]
    assert [pause for pause in pauses if pause is not None] == [0, 0.2, 0.3, 0.3]
