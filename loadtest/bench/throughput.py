"""The rows of wrk: requests a second of a call, against a baseline that reads and answers the same.

The answer of each baseline is one the service gave to the same request just before.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from loadtest.bench.counters import redis_use
from loadtest.bench.echo import Echoed
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.holding import hold
from loadtest.bench.messages import (
    SUBJECT,
    VENUES,
    order_requests,
    payment_requests,
    read_requests,
)
from loadtest.bench.one_request import Answer, ask, ask_first
from loadtest.bench.rounds import alternating_rows
from loadtest.bench.rowlock import make_tables
from loadtest.bench.table import Row, at_least
from loadtest.bench.targets import Echo, Orders, Payments, Reads, RowLock
from loadtest.bench.testbed import Testbed, serving_api
from loadtest.bench.waiting import until

SEATS = 1_000_000
"""Seats of each quota, where none is to sell out."""
_RESERVE = {64: at_least(0.7), 256: at_least(0.85)}
_SOLD_OUT = {64: at_least(0.75), 256: at_least(0.9)}
_CONFIRM = {64: at_least(0.3), 256: at_least(0.45)}
_BY_A_RULE = at_least(0.97)
_ECHOED_PAYMENTS = 500
_COMMANDS_OF_THE_BACKGROUND = 30
"""How many more commands the background may send to Redis in one second than in another."""


async def reserve_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of reservations that succeed."""
    exam = await new_exam(testbed)
    answer = await first_order(testbed, exam, 201)
    echoed = [Echoed("POST", "/orders", answer.status, answer.document)]
    dsn = await testbed.new_database(testbed.new_name("rowlock"))
    await make_tables(dsn, [(venue, SUBJECT, SEATS) for venue in VENUES])
    reserve = Orders(testbed, "reserve", exam)
    async with (
        testbed.baseline("echo", echoed) as echo_url,
        testbed.baseline("rowlock", echoed, "--dsn", dsn) as rowlock_url,
    ):
        echo = echo_of_orders(testbed, echo_url)
        rowlock = RowLock(testbed, "row lock", rowlock_url, dsn)
        return await alternating_rows(
            testbed,
            [
                ("reserve ÷ echo", _RESERVE, reserve, echo),
                ("reserve ÷ one row-lock transaction each", at_least(12), reserve, rowlock),
            ],
        )


async def rules_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of reservations where seats that come back go to a list, and under ceilings.

    No seat comes back, and no ceiling is met: it is what the rules cost everybody.
    """
    returned = {"returned": {"rule": "list-first"}, "waiting_list": {"offer_ttl_s": 3600}}
    rooms = {"rooms": {venue: {"s1": SEATS} for venue in VENUES}}
    plain = Orders(testbed, "plain", await new_exam(testbed))
    listed = Orders(testbed, "list first", await new_exam(testbed, **returned))
    ceilings = Orders(testbed, "ceilings", await new_exam(testbed, **rooms))
    return await alternating_rows(
        testbed,
        [
            ("reserve, returned seats to a list ÷ on open sale", _BY_A_RULE, listed, plain),
            ("reserve, under a ceiling ÷ without", _BY_A_RULE, ceilings, plain),
        ],
        testbed.plan.connections[:1],
    )


async def sold_out_rows(testbed: Testbed) -> list[Row]:
    """Return the row of refusals: every venue has one seat, which is taken."""
    exam = await new_exam(testbed, seats=1)
    await hold(testbed.service, exam, "early", range(len(VENUES)))
    answer = await first_order(testbed, exam, 409)
    refused = Orders(testbed, "sold-out", exam, outcome="sold-out")
    echoed = [Echoed("POST", "/orders", answer.status, answer.document)]
    async with testbed.baseline("echo", echoed) as url:
        echo = echo_of_orders(testbed, url)
        return await alternating_rows(testbed, [("sold-out ÷ echo", _SOLD_OUT, refused, echo)])


async def availability_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of availability, whole and unchanged."""
    exam = await new_exam(testbed)
    path = f"/v1/exams/{exam}/availability"
    answer = await first_look(testbed, path)
    etag = answer.headers["etag"]
    route = "/v1/exams/{exam}/availability"
    whole = Reads(testbed, "availability", route, read_requests(path))
    unchanged = Reads(testbed, "unchanged", route, read_requests(path, etag), status=304)
    echoed = [Echoed("GET", "/look", 200, answer.document), Echoed("GET", "/known", 304, None)]
    async with testbed.baseline("echo", echoed) as url:
        seen = Echo(testbed, "echo", url, lambda: read_requests("/look"))
        nothing = Echo(testbed, "echo of nothing", url, lambda: read_requests("/known", etag))
        return await alternating_rows(
            testbed,
            [
                ("availability, 200 ÷ echo", at_least(1.2), whole, seen),
                ("availability, 304 ÷ echo", at_least(1.2), unchanged, nothing),
            ],
        )


async def confirm_rows(testbed: Testbed) -> list[Row]:
    """Return the row of signed callbacks, each answered when its booking is committed."""
    exam = await new_exam(testbed)
    paid = await hold(testbed.service, exam, "early", range(1))
    first = payment_requests(Payments.PATH, testbed.payment_secret, paid)
    answer = await ask_first(testbed.api.url, first, 200)
    # The baseline reads as many bytes: of payments for reservations that never were.
    names = [f"{paid[0][:-8]}{n:08}" for n in range(_ECHOED_PAYMENTS)]
    requests = payment_requests("/payments", testbed.payment_secret, names)
    confirm = Payments(testbed, "confirm", exam)
    async with testbed.baseline("echo", [Echoed("POST", "/payments", 200, answer.document)]) as url:
        echo = Echo(testbed, "echo", url, lambda: requests)
        return await alternating_rows(testbed, [("confirm ÷ echo", _CONFIRM, confirm, echo)])


async def waiting_room_rows(testbed: Testbed) -> list[Row]:
    """Return the row of polls of the waiting room's public document, which ask Redis nothing."""
    exam = await new_exam(testbed, waiting_room={})
    path = f"/v1/exams/{exam}/waiting-room"
    answer = await first_look(testbed, path)
    idle_per_s = await _idle_commands_per_s(testbed)
    polls = Reads(
        testbed,
        "poll",
        "/v1/exams/{exam}/waiting-room",
        read_requests(path),
        commands_max_per_s=idle_per_s + _COMMANDS_OF_THE_BACKGROUND,
    )
    async with testbed.baseline("echo", [Echoed("GET", "/poll", 200, answer.document)]) as url:
        echo = Echo(testbed, "echo", url, lambda: read_requests("/poll"))
        pair = ("waiting-room poll ÷ echo", at_least(1.2), polls, echo)
        rows = await alternating_rows(testbed, [pair])
    return [row.with_figures(redis_commands_per_s_when_idle=idle_per_s) for row in rows]


async def api_processes_rows(testbed: Testbed) -> list[Row]:
    """Return the row of two API processes against one; client and stores share the cores too."""
    exam = await new_exam(testbed)
    async with serving_api(testbed.settings, testbed.folder, "two", 2) as two:
        one_process = Orders(testbed, "1 process", exam)
        two_processes = Orders(testbed, "2 processes", exam, api=two)
        return await alternating_rows(
            testbed,
            [("reserve, 2 API processes ÷ 1", None, two_processes, one_process)],
            testbed.plan.connections[:1],
        )


async def new_exam(testbed: Testbed, seats: int = SEATS, **members: object) -> str:
    """Add an exam of the bench and return its id."""
    exam = testbed.new_name("bench")
    await testbed.add_exam(bench_exam(seats, exam, **members))
    return exam


async def first_order(testbed: Testbed, exam: str, status: int) -> Answer:
    """Return the answer to an order, which is to have this status."""
    path = f"/v1/exams/{exam}/reservations"
    requests = order_requests(path, testbed.frontend_key, "first")
    return await ask_first(testbed.api.url, requests, status)


def echo_of_orders(testbed: Testbed, url: str) -> Echo:
    """Return the baseline that reads the same orders."""

    def orders() -> Sequence[bytes]:
        return order_requests("/orders", testbed.frontend_key, testbed.new_name("run"))

    return Echo(testbed, "echo", url, orders)


async def first_look(testbed: Testbed, path: str) -> Answer:
    """Return the answer to a look, once what is looked at has been read by the API."""
    request = read_requests(path)[0]

    async def is_there() -> bool:
        return (await ask(testbed.api.url, request)).status == HTTPStatus.OK

    await until(is_there, path)
    return await ask(testbed.api.url, request)


async def _idle_commands_per_s(testbed: Testbed) -> float:
    """Return how many commands per second Redis gets without requests."""
    client, seconds = testbed.redis, testbed.plan.seconds
    with testbed.worker_stopped():
        before = await redis_use(client)
        await asyncio.sleep(seconds)
        use = (await redis_use(client)).since(before)
    return (use.commands - 1) / seconds
