"""The configuration of `deploy/haproxy/` in the HAProxy of the system, before two API processes.

Over 400 lines because the processes, which take seconds to start, are those of all tests here.
"""

import asyncio
import itertools
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from quota_service.app.opening import open_service
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.embedded.ports import LOOPBACK
from quota_service.ledger.api_keys import Scope
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.faults.processes import ServiceProcess
from tests.support.client import PAYMENT_SECRETS, TOKEN_SECRETS, Reply
from tests.support.databases import Databases
from tests.support.exams import make_exam
from tests.support.haproxy import haproxy
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.programs import need_program
from tests.support.proxied import (
    Apis,
    Crowd,
    Site,
    check_problem,
    client_of,
    numbers,
    pay,
    reserve,
    until_refused,
)
from tests.support.proxy import proxied
from tests.support.raw_http import connect, exchange, next_reply, order, request
from tests.support.recorder import Recorder
from tests.support.supervised import Supervised, supervised
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

SEATS = 100_000
AVAILABILITY = "/v1/exams/exam-1/availability"
ORIGINS = ("https://exam.example", "http://localhost:8081")
ELSEWHERE = "127.0.0.2"
"""Another address of this machine than the tests otherwise call from."""

Start = Callable[..., Awaitable[Site]]


@pytest.fixture(scope="module")
async def apis(
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Apis]:
    """The API processes of all tests here, with an exam that has seats for everybody."""
    folder = tmp_path_factory.mktemp("haproxy")
    async with AsyncExitStack() as stack:
        # A Redis of their own: that of the other tests is emptied before each of them.
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        dsn = await stack.enter_async_context(
            databases.lend(postgres_server.url, migrated_template)
        )
        settings = Settings(
            redis_url=redis.url,
            postgres_dsn=dsn,
            payment_secrets=PAYMENT_SECRETS,
            port=0,
            admin_port=0,
        )
        async with open_service(settings) as service:
            seats = {"jinan": {"general": SEATS}}
            await import_exam(service.stores.maintenance, make_exam(seats=seats))
            create = service.key_ledger.create
            one, two = [await create(name, frozenset({Scope.FRONTEND})) for name in ("one", "two")]
            ops = await create("ops", frozenset({Scope.OPS}))
        told = {
            "QUOTA_REDIS_URL": redis.url,
            "QUOTA_POSTGRES_DSN": dsn,
            "QUOTA_PAYMENT_SECRETS": PAYMENT_SECRETS,
            "QUOTA_CANDIDATE_TOKEN_SECRETS": TOKEN_SECRETS,
            "QUOTA_CORS_ORIGINS": ",".join(ORIGINS),
            "QUOTA_SHUTDOWN_NOTICE_S": "5",
        }
        first, second = (ServiceProcess("serve", f"api-{n}", told, folder) for n in range(2))
        for process in (first, second):
            stack.push_async_callback(process.kill)
        await asyncio.gather(first.start(), second.start())
        yield Apis(settings, (first, second), (one, two), ops)


@pytest.fixture
async def start(apis: Apis, tmp_path: Path) -> AsyncIterator[Start]:
    """What starts HAProxy before the API processes, with the limits it is to have."""
    async with AsyncExitStack() as stack:

        async def run(**limits: object) -> Site:
            for process in apis.processes:
                if not process.is_running:
                    await process.start()
            urls = [process.url for process in apis.processes]
            proxy = await stack.enter_async_context(haproxy(tmp_path, *urls, **limits))
            api = await client_of(stack, proxy, apis.keys[0])
            return Site(proxy, apis.processes, api, stack)

        yield run


async def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    site = await start()
    sent = b""
    for number in range(0, 20, 2):
        candidate, key = f"candidate-{next(numbers)}", site.api.frontend_key
        sent += order(key, candidate, f"X-Request-ID: number-{number}", idempotency_key=candidate)
        sent += request("GET", AVAILABILITY, f"X-Request-ID: number-{number + 1}", keeps=True)
    reader, writer = await connect(site.proxy.http)

    writer.write(sent)
    replies = [await next_reply(reader) for _ in range(20)]
    writer.close()

    answers = [(reply.headers["X-Request-ID"], reply.status) for reply in replies]
    assert answers == [(f"number-{n}", 200 if n % 2 else 201) for n in range(20)]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: 0, %d\r\n\r\n",
        b"Content-Length: +%d\r\n\r\n",
        b"Content-Length : %d\r\n\r\n",
        b"X: y\rContent-Length: %d\r\n\r\n",
        b"X: y\nContent-Length: %d\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n",
    ],
)
async def test_an_order_within_a_request_that_can_be_read_in_two_ways_is_never_placed(
    start: Start, framing: bytes
) -> None:
    """On the connection of the proxy it would be served as the next request of somebody else."""
    site = await start()
    victim = f"candidate-{next(numbers)}"
    hidden = order(site.api.frontend_key, victim, idempotency_key="hidden", keeps=False)
    line = b"POST /v1/exams/exam-1/reservations HTTP/1.1\r\nHost: q\r\n"

    with suppress(ConnectionError):  # refused before all of it was sent
        await exchange(site.proxy.http, line + framing % len(hidden) + hidden, half_close=True)
    asked = [f"next-{number}" for number in range(8)]
    replies = [await site.api.get(AVAILABILITY, headers={"X-Request-ID": name}) for name in asked]
    seen = await site.api.get(f"/v1/exams/exam-1/candidates/{victim}")

    assert [reply.headers["X-Request-ID"] for reply in replies] == asked
    assert {reply.status for reply in replies} == {200}
    assert seen.json["reservations"] == []


async def test_http_2_carries_many_requests_on_one_connection(start: Start, tmp_path: Path) -> None:
    site = await start()
    transfers = [
        f'url = "{site.proxy.https}{AVAILABILITY}"\nhttp2\ncacert = "{site.proxy.certificate}"\n'
        f'header = "X-Request-ID: number-{number}"\n'
        f'output = "{tmp_path}/answer-{number}"\n'
        r'write-out = "%{http_version} %{response_code} %{num_connects} '
        r'%header{x-request-id}\n"'
        for number in range(10)
    ]
    (tmp_path / "curl").write_text("\nnext\n".join(transfers))

    curl = await asyncio.create_subprocess_exec(
        need_program("curl"),
        *("--silent", "--parallel", "--config", tmp_path / "curl"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await curl.communicate()

    lines = [line.split(" ") for line in out.decode().splitlines()]
    assert {line[3] for line in lines} == {f"number-{n}" for n in range(10)}
    assert {tuple(line[:2]) for line in lines} == {("2", "200")}
    assert sum(int(line[2]) for line in lines) == 1


async def test_payments_come_through_a_flood_that_is_refused(start: Start) -> None:
    site = await start(API_MAXCONN=1, ADDRESS_RATE=1_000_000)
    held = [await reserve(site.api) for _ in range(30)]
    flooded: Counter[int] = Counter()
    refusals: list[Reply] = []
    is_over = asyncio.Event()

    async def ask(number: int) -> None:
        while not is_over.is_set():
            is_order = number % 2 == 0
            reply = await (reserve(site.api) if is_order else site.api.get(AVAILABILITY, key=None))
            flooded[reply.status] += 1
            if reply.status == 503:
                refusals.append(reply)

    # More than the queue takes, and the one request that each process has at work.
    crowd = [asyncio.create_task(ask(number)) for number in range(150)]

    async def is_flooded() -> bool:
        return len(refusals) > 100

    await eventually(is_flooded)

    paid = [await pay(site.api, hold) for hold in held]

    is_over.set()
    await asyncio.gather(*crowd)
    assert [reply.status for reply in paid] == [200] * 30
    assert flooded.keys() == {200, 201, 503}
    for refusal in refusals:
        check_problem(refusal, "overloaded", part="service")


async def test_a_killed_process_loses_nothing_that_was_answered(start: Start) -> None:
    site = await start()
    one, two = site.processes
    crowd = Crowd(site.api, 8)
    await crowd.books(50)

    await one.kill()
    await crowd.books(100)

    states = await crowd.states()
    # What was under way there can be repeated, so that HAProxy has the other process do it.
    assert crowd.refused == []
    assert states == {"confirmed": len(crowd.booked)}
    await two.kill()
    for number in range(2):
        await site.proxy.until_up(number, up=False)
    for reply in (await site.api.get(AVAILABILITY), await reserve(site.api)):
        check_problem(reply, "not-ready", part="service")


async def test_a_rolling_restart_refuses_nobody(start: Start) -> None:
    site = await start()
    crowd = Crowd(site.api, 4)
    await crowd.books(50)

    for number, process in enumerate(site.processes):
        await process.terminate()
        await process.start()
        await site.proxy.until_up(number)
        await crowd.books(50)

    states = await crowd.states()
    assert crowd.refused == []
    assert states == {"confirmed": len(crowd.booked)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_processes_of_one_port_are_replaced_one_by_one_and_nobody_is_refused(
    apis: Apis, tmp_path: Path, number: signal.Signals
) -> None:
    async with (
        supervised(apis.settings, workers=2) as service,
        haproxy(tmp_path, service.api, API_MAXCONN=128) as proxy,
        AsyncExitStack() as stack,
    ):
        crowd = Crowd(await client_of(stack, proxy, apis.keys[0]), 4)
        await crowd.books(50)

        for place, pid in service.pids().items():
            os.kill(pid, number)
            await eventually(partial(_is_replaced, service, place, pid), within_s=START_LIMIT_S)
            await crowd.books(50)

        states = await crowd.states()
        assert crowd.refused == []
        assert states == {"confirmed": len(crowd.booked)}


async def _is_replaced(service: Supervised, place: int, pid: int) -> bool:
    return service.pids()[place] != pid and place in service.admins()


async def test_a_key_over_its_rate_is_refused_and_others_are_not(start: Start, apis: Apis) -> None:
    site = await start(KEY_RATE=20)
    other = await site.client(apis.keys[1])
    # A key has a rate of its own once it was found valid.
    assert (await reserve(site.api)).status == 201
    assert (await reserve(other)).status == 201

    refused = await until_refused(lambda: site.api.get(AVAILABILITY), served=200)
    served = await other.get(AVAILABILITY)

    check_problem(refused, "rate-limited", policy="key", limit_per_s=20)
    assert refused.headers["RateLimit-Policy"] == '"key";q=20;w=1'
    assert refused.headers["RateLimit"] == '"key";r=0;t=1'
    assert served.status == 200
    assert served.headers["RateLimit-Policy"] == '"key";q=20;w=1'


async def test_a_token_over_its_rate_is_refused_and_neither_others_nor_its_key_are(
    start: Start,
) -> None:
    site = await start(TOKEN_RATE=10)
    api = site.api
    mine, theirs = await api.token("candidate-a"), await api.token("candidate-b")
    # Each is a caller of its own from the first call that needs it.
    for token, candidate in ((mine, "candidate-a"), (theirs, "candidate-b")):
        assert (await api.reserve(candidate, key=token)).status == 201

    refused = await until_refused(lambda: api.get(AVAILABILITY, key=mine), served=200)
    others = [await api.get(AVAILABILITY, key=key) for key in (theirs, "")]

    check_problem(refused, "rate-limited", policy="token", limit_per_s=10)
    assert refused.headers["RateLimit-Policy"] == '"token";q=10;w=1'
    assert [(reply.status, reply.headers["RateLimit-Policy"]) for reply in others] == [
        (200, '"token";q=10;w=1'),
        (200, '"key";q=20000;w=1'),
    ]


async def test_pages_of_allowed_origins_may_read_what_haproxy_refuses(start: Start) -> None:
    site = await start(ADDRESS_RATE=20, CORS_ORIGINS=" ".join(ORIGINS))
    assert (await reserve(site.api)).status == 201
    told: dict[str, Reply] = {}
    for origin in (*ORIGINS, "https://exam.example.evil.example"):
        headers = {"Origin": origin}
        told[origin] = await until_refused(
            partial(site.api.get, AVAILABILITY, key=None, headers=headers), served=200
        )
    served = await site.api.get(AVAILABILITY, headers={"Origin": ORIGINS[0]})

    *allowed, other = told.values()
    for origin, refused in zip(ORIGINS, allowed, strict=True):
        check_problem(refused, "rate-limited", policy="address")
        assert refused.headers["Access-Control-Allow-Origin"] == origin
        assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in other.headers
    assert served.status == 200
    names = [name for name, _ in served.headers.items()]
    assert names.count("Access-Control-Allow-Origin") == 1
    assert "ETag" in served.headers["Access-Control-Expose-Headers"]


async def test_an_address_over_its_rate_is_refused_and_valid_keys_there_are_not(
    start: Start,
) -> None:
    site = await start(ADDRESS_RATE=20)
    elsewhere = await site.client("", address=ELSEWHERE)
    held = await reserve(site.api)
    made_up = itertools.count()

    refused = await until_refused(
        # A key that nobody knows gives nobody a rate of its own.
        lambda: site.api.get(AVAILABILITY, key=f"quota_x_{next(made_up)}"),
        served=200,
    )
    by_key, from_elsewhere = await asyncio.gather(
        site.api.get(AVAILABILITY), elsewhere.get(AVAILABILITY, key=None)
    )
    paid = await pay(site.api, held)

    check_problem(refused, "rate-limited", policy="address", limit_per_s=20)
    assert (by_key.status, from_elsewhere.status, paid.status) == (200, 200, 200)


async def test_unsigned_callbacks_have_a_rate_that_holds_no_payment_from_elsewhere_back(
    start: Start,
) -> None:
    site = await start(FAILED_RATE=20)
    provider = await site.client("", address=ELSEWHERE)
    held = await reserve(site.api)

    refused = await until_refused(
        lambda: pay(site.api, held, secret=b"a secret that is none of ours at all"), served=401
    )
    paid = await pay(provider, held)

    check_problem(refused, "rate-limited", policy="address", limit_per_s=20)
    assert paid.status == 200
    assert (await site.api.get(AVAILABILITY)).status == 200


async def test_an_address_has_so_many_connections(start: Start) -> None:
    site = await start(ADDRESS_CONNECTIONS=3)

    async def first_bytes(address: str) -> bytes:
        try:
            reader, writer = await connect(site.proxy.http, local_addr=(address, 0))
            site.stack.callback(writer.close)
            writer.write(f"GET {AVAILABILITY} HTTP/1.1\r\nHost: quota\r\n\r\n".encode())
            return await reader.read(12)
        except ConnectionResetError:
            return b""

    answers = [await first_bytes(LOOPBACK) for _ in range(4)]
    from_elsewhere = await first_bytes(ELSEWHERE)

    assert answers == [b"HTTP/1.1 200"] * 3 + [b""]
    assert from_elsewhere == b"HTTP/1.1 200"


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/livez/../metrics"])
async def test_the_metrics_of_a_process_are_not_reachable(start: Start, path: str) -> None:
    site = await start()
    reader, writer = await connect(site.proxy.http)

    writer.write(f"GET {path} HTTP/1.1\r\nHost: quota\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()

    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"quota_requests" not in answer


async def test_what_is_sent_too_slowly_takes_no_slot(start: Start) -> None:
    site = await start(API_MAXCONN=1)
    head = (
        "POST /v1/exams/exam-1/reservations HTTP/1.1\r\nHost: quota\r\nIdempotency-Key: k\r\n"
        f"Authorization: Bearer {site.api.frontend_key}\r\n"
    )
    connections = [await connect(site.proxy.http) for _ in range(8)]
    for number, (_, writer) in enumerate(connections):
        # Half of a head, or a head and half of a body.
        rest = "" if number % 2 else "Content-Length: 100\r\n\r\n{"
        writer.write((head + rest).encode())

    served = [await reserve(site.api) for _ in range(4)]
    async with asyncio.timeout(LIMIT_S):
        answers = [await reader.read() for reader, _ in connections]

    for _, writer in connections:
        writer.close()
    assert [reply.status for reply in served] == [201] * 4
    assert answers[1::2] == [b""] * 4
    assert {answer[:12] for answer in answers[::2]} == {b"HTTP/1.1 408"}
    assert b"/problems/body-too-slow" in answers[0]


async def test_files_of_pages_are_kept_here_and_pages_are_not(start: Start) -> None:
    site = await start()
    page = await site.api.get("/exams/exam-1", key=None)
    (script,) = re.findall(r'src="(/web/[^"]+)"', page.body.decode())

    async def get(path: str, encoding: str) -> Reply:
        headers = {"Accept-Encoding": encoding, "X-Request-ID": encoding}
        return await site.api.get(path, key=None, headers=headers)

    first = [await get(script, encoding) for encoding in ("gzip", "identity")]
    again = [await get(script, encoding) for encoding in ("gzip", "identity")]
    pages = [await get("/exams/exam-1", "gzip") for _ in range(2)]

    assert {reply.body for reply in (*first, *again)} == {first[0].body}
    assert ["Age" in reply.headers for reply in (*first, *again)] == [False, False, True, True]
    assert [reply.headers.get("Content-Encoding") for reply in again] == ["gzip", None]
    assert [reply.headers["X-Request-ID"] for reply in again] == ["gzip", "identity"]
    assert not any("Age" in reply.headers for reply in pages)


@pytest.mark.parametrize(
    "path", ["exams/exam-1/availability/stream", "exams/exam-1/availability/%73tream", "events"]
)
async def test_streams_take_no_slot_of_other_requests(start: Start, apis: Apis, path: str) -> None:
    site = await start(API_MAXCONN=1)

    async with AsyncExitStack() as streams:
        session = await streams.enter_async_context(aiohttp.ClientSession())
        # As it is: the client would decode what needs no encoding.
        url = URL(f"{site.proxy.http}/v1/{path}", encoded=True)
        headers = {"Authorization": f"Bearer {apis.ops_key}"} if path == "events" else {}
        opened = [
            await streams.enter_async_context(session.get(url, headers=headers)) for _ in range(4)
        ]
        reserved = await reserve(site.api)

    assert [stream.status for stream in opened] == [200] * 4
    assert reserved.status == 201


async def test_what_the_service_hears_of_its_caller_the_proxy_says(tmp_path: Path) -> None:
    told = {
        "X-Forwarded-For": "192.0.2.1",
        "Forwarded": "for=192.0.2.1",
        "X-Request-ID": "not fit to be logged",
    }
    async with (
        Recorder(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}') as server,
        haproxy(tmp_path, server.url) as proxy,
        aiohttp.ClientSession() as session,
        session.get(f"{proxy.http}{AVAILABILITY}", headers=told) as response,
    ):
        await response.read()

        (head,) = [head for head, _ in server.requests if b"availability" in head]
        heard = head.decode().lower()
        assert "x-forwarded-for: 127.0.0.1\r\n" in heard
        assert "192.0.2.1" not in heard
        assert "not fit" not in heard
        assert f"x-request-id: {response.headers['X-Request-ID']}\r\n" in heard


async def test_without_postgres_seats_are_held_and_payments_are_refused(
    apis: Apis, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        cable = await stack.enter_async_context(proxied(apis.settings.postgres_dsn))
        told = {
            "QUOTA_REDIS_URL": apis.settings.redis_url,
            "QUOTA_POSTGRES_DSN": cable.in_front_of(apis.settings.postgres_dsn),
            "QUOTA_PAYMENT_SECRETS": apis.settings.payment_secrets,
        }
        process = ServiceProcess("serve", "api-alone", told, tmp_path)
        stack.push_async_callback(process.kill)
        await process.start()
        proxy = await stack.enter_async_context(haproxy(tmp_path, process.url))
        api = await client_of(stack, proxy, apis.keys[0])
        await proxy.until_up(0)
        held = await reserve(api)

        cable.lead_to("tcp://127.0.0.1:1")  # nobody listens there
        cable.reset()
        await proxy.until_up(0, up=False, backend="payments")
        meanwhile, unpaid = await reserve(api), await pay(api, held)
        cable.lead_to(apis.settings.postgres_dsn)
        await proxy.until_up(0, backend="payments")
        paid = await pay(api, held)

    assert (held.status, meanwhile.status) == (201, 201)
    check_problem(unpaid, "not-ready")
    assert unpaid.headers["Retry-After"]
    assert paid.status == 200
