"""Connections are read in turns, and what would wait for too long is turned away.

Over 400 lines because all of it is about one order of reading and shares the ways to disturb it.
"""

import asyncio
import json
import os
import random
import signal
import time

import pytest

from quota_service.api import turns
from quota_service.api import usher as usher_module
from quota_service.api.webhooks import sign
from quota_service.overload import unread as unread_module
from quota_service.overload.unread import UnreadLimit
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import PAYMENT_SECRET, ApiClient, Reply
from tests.support.contract import Contract
from tests.support.processes import children, open_files
from tests.support.raw_http import connect
from tests.support.refusals import PAYMENT
from tests.support.waiting import eventually

RESERVATIONS = "/v1/exams/exam-1/reservations"
RESERVE = "POST /v1/exams/{exam}/reservations"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

with_and_without_usher = pytest.mark.parametrize(
    "who",
    [
        pytest.param("usher", marks=pytest.mark.settings(usher=True, unread_wait_max_ms=10)),
        pytest.param("itself", marks=pytest.mark.settings(usher=False, unread_wait_max_ms=10)),
    ],
)


def order(api: ApiClient, name: str, *headers: str) -> tuple[bytes, bytes]:
    """Return head and body of a reservation that keeps its connection."""
    body = json.dumps(
        {
            "candidate": f"candidate-{name}",
            "subjects": ["general"],
            "venues": ["jinan", "tianjin", "beijing"],
            "accepted_notice": "2023-1",
        }
    ).encode()
    lines = [
        f"POST {RESERVATIONS} HTTP/1.1",
        "Host: quota",
        f"Authorization: Bearer {api.frontend_key}",
        f"Idempotency-Key: order-{name}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n", body


def callback(body: bytes, *headers: str) -> bytes:
    """Return a payment callback that keeps its connection."""
    lines = ["POST /v1/payment-callbacks HTTP/1.1", "Host: quota", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body


async def answer(connection: Connection) -> Reply:
    async with asyncio.timeout(10):
        head = (await connection[0].readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await connection[0].readexactly(int(headers["Content-Length"]))
    return Reply(int(head[0].split(" ")[1]), headers, body)


async def what_is_left(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends, in whatever way."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def connected(running: Running, count: int) -> list[Connection]:
    return [await connect(running.client.url) for _ in range(count)]


def allow(running: Running, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    """Let no more than so many wait to be read, whatever the pace."""
    monkeypatch.setattr(unread_module, "_LIMIT_MIN", waiting)
    running.service.context.unread.limit = waiting


def turn_everything_away(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing be read in its turn, so that all that comes is too much."""
    monkeypatch.setattr(turns, "_TURN_MAX", 0)
    monkeypatch.setattr(UnreadLimit, "begin_turn", lambda _: None)
    running.service.context.unread.limit = 0


def give_time_to_refuse(running: Running) -> None:
    """Let the API turn away by itself as much as it likes."""
    running.service.context.unread.may_turn_away = lambda: 1000  # type: ignore[method-assign]


async def are_lent(running: Running) -> None:
    """Wait until a turn has left nobody waiting."""
    unread = running.service.context.unread
    unread.waiting = -1

    async def is_turn_over() -> bool:
        return unread.waiting == 0

    await eventually(is_turn_over)


def refused(running: Running) -> float:
    labels = {"work": "reserve", "reason": "unread"}
    value = running.service.metrics.registry.get_sample_value
    return value("quota_requests_refused_total", labels) or 0.0


def usher() -> int:
    """The process that turns away for this one."""
    (pid,) = children(os.getpid(), named="usher_process")
    return pid


@with_and_without_usher
async def test_the_latest_of_a_crowd_are_turned_away_and_everybody_is_answered(
    running: Running, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    assert children(os.getpid(), named="usher_process") == ([usher()] if who == "usher" else [])
    contract = Contract()
    crowd = await connected(running, 300)
    allow(running, monkeypatch, 4)

    for number, (_, writer) in enumerate(crowd):
        writer.write(b"".join(order(running.client, str(number), f"X-Request-ID: id-{number}")))
    answers = [await answer(connection) for connection in crowd]
    statuses = [reply.status for reply in answers]

    assert [reply.headers["X-Request-ID"] for reply in answers] == [f"id-{n}" for n in range(300)]
    assert set(statuses) <= {201, 409, 503}
    assert statuses.count(503) > 0

    async def are_counted() -> bool:
        return refused(running) == statuses.count(503)

    await eventually(are_counted)  # the usher tells of a refusal when it has been sent
    assert set(statuses[:16]) <= {201, 409}  # the first turn
    for reply in answers:
        contract.check(RESERVE, reply)
        if reply.status == 503:
            assert reply.slug == "overloaded"
            assert 1 <= int(reply.headers["Retry-After"]) <= 3
    # One after the other nobody waits, on the same connections.
    for number, connection in enumerate(crowd[-20:]):
        connection[1].write(b"".join(order(running.client, f"again-{number}")))
        assert (await answer(connection)).status in {201, 409}
    for _, writer in crowd:
        writer.close()


@with_and_without_usher
async def test_what_is_turned_away_touches_nothing(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    nothing_changes: NothingChanges,
    who: str,
) -> None:
    turn_everything_away(running, monkeypatch)
    give_time_to_refuse(running)  # where it is not the usher's time
    crowd = await connected(running, 40)

    async with nothing_changes():
        for number, (_, writer) in enumerate(crowd):
            writer.write(b"".join(order(running.client, f"{who}-{number}")))
        answers = [await answer(connection) for connection in crowd]

    assert {reply.slug for reply in answers} == {"overloaded"}
    for _, writer in crowd:
        writer.close()


@pytest.mark.settings(usher=True)
async def test_payments_and_releases_that_the_usher_has_read_are_served(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = running.client
    paid, given_back = (await api.reserve("a")).json, (await api.reserve("b")).json
    turn_everything_away(running, monkeypatch)

    payment = await api.pay(paid)
    release = await api.call("DELETE", f"/v1/reservations/{given_back['id']}")
    health = await api.get("/readyz", key=None)
    (connection,) = await connected(running, 1)
    connection[1].write(b"".join(order(api, "c")))
    reservation = await answer(connection)
    connection[1].close()

    assert payment.json["outcome"] == "confirmed"
    assert (release.json["state"], health.status) == ("released", 200)
    assert reservation.slug == "overloaded"


@pytest.mark.settings(usher=True)
async def test_a_body_that_comes_behind_its_refusal_is_no_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_everything_away(running, monkeypatch)
    head, body = order(running.client, "slow")
    (connection,) = await connected(running, 1)

    connection[1].write(head + body[:7])
    first = await answer(connection)
    connection[1].write(body[7:] + b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")
    second = await answer(connection)
    connection[1].close()

    assert (first.slug, second.status) == ("overloaded", 200)


@pytest.mark.settings(usher=True)
@pytest.mark.parametrize("seed", range(12))
async def test_however_requests_are_cut_and_sent_ahead_each_gets_its_own_answer(
    running: Running, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A request the usher took for part of another would shift every answer behind it."""
    drawn = random.Random(seed)  # noqa: S311
    turn_everything_away(running, monkeypatch)
    (connection,) = await connected(running, 1)
    answers: list[Reply] = []
    for number in range(24):
        name = f"X-Request-ID: {seed}-{number}"
        sent = (
            f"GET /livez HTTP/1.1\r\nHost: q\r\n{name}\r\n\r\n".encode()
            if drawn.random() < 0.3
            else b"".join(order(running.client, f"{seed}-{number}", name))
        )
        while sent:
            cut = drawn.choice([len(sent), len(sent), drawn.randint(1, len(sent))])
            connection[1].write(sent[:cut])
            sent = sent[cut:]
            if drawn.random() < 0.5:
                await running.client.get("/livez", key=None)
        while drawn.random() < 0.7 and len(answers) <= number:
            answers.append(await answer(connection))
    while len(answers) < 24:
        answers.append(await answer(connection))
    connection[1].close()

    assert [a.headers["X-Request-ID"] for a in answers] == [f"{seed}-{n}" for n in range(24)]
    assert {a.status for a in answers} <= {200, 201, 409, 503}


@pytest.mark.settings(usher=True)
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_an_usher_that_dies_is_replaced_and_nobody_waits_for_its_answer(
    running: Running, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    turn_everything_away(running, monkeypatch)
    monkeypatch.setattr(usher_module, "_ANSWER_TIMEOUT_S", 0.5)
    first = usher()
    os.kill(first, signal.SIGSTOP)
    crowd = await connected(running, 20)
    for number, (_, writer) in enumerate(crowd):
        writer.write(b"".join(order(running.client, f"lost-{number}")))
    await are_lent(running)
    if how == "killed":
        os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        ends = [await what_is_left(reader) for reader, _ in crowd]
    give_time_to_refuse(running)
    beside_it = await running.client.reserve("meanwhile")

    async def is_back() -> bool:
        return bool(set(children(os.getpid(), named="usher_process")) - {first})

    await eventually(is_back)
    after = await running.client.reserve("after")

    assert ends == [b""] * 20
    assert (beside_it.slug, after.slug) == ("overloaded", "overloaded")
    for _, writer in crowd:
        writer.close()


@pytest.mark.settings(usher=True)
async def test_a_client_that_leaves_while_it_is_lent_leaves_nothing_behind(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_everything_away(running, monkeypatch)
    pid = usher()
    os.kill(pid, signal.SIGSTOP)
    crowd = await connected(running, 20)
    for number, (_, writer) in enumerate(crowd):
        writer.write(b"".join(order(running.client, f"left-{number}")))
    await are_lent(running)
    for _, writer in crowd:
        writer.transport.abort()
    os.kill(pid, signal.SIGCONT)

    after = await running.client.reserve("after")

    async def is_quiet() -> bool:
        return running.service.context.gate.at_work() == 0 and len(open_files(pid)) < 10

    await eventually(is_quiet)
    assert after.slug == "overloaded"
    assert usher() == pid


async def test_a_payment_is_read_before_a_crowd_on_the_connection_that_brought_one(
    running: Running,
) -> None:
    api = running.client
    paid = [(await api.reserve(f"paid-{n}")).json for n in range(2)]
    await api.pay(paid[0])  # the client keeps this connection
    crowd = await connected(running, 400)
    for number, (_, writer) in enumerate(crowd):
        writer.write(b"".join(order(api, f"crowd-{number}")))
    began_at = time.perf_counter()

    payment = await api.pay(paid[1])
    paid_after_s = time.perf_counter() - began_at
    answers = [await answer(connection) for connection in crowd]
    all_after_s = time.perf_counter() - began_at

    assert payment.json["outcome"] == "confirmed"
    assert {reply.status for reply in answers} <= {201, 409}
    assert paid_after_s < all_after_s
    for _, writer in crowd:
        writer.close()


async def test_a_callback_that_nobody_signed_gives_its_connection_no_first_place(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = running.client
    held = (await api.reserve("paid")).json
    body = json.dumps({**PAYMENT, "reservation": held["id"]}).encode()
    now_s = int(time.time())
    about = ("webhook-id: event-1", f"webhook-timestamp: {now_s}")
    right = f"webhook-signature: {sign(PAYMENT_SECRET, 'event-1', now_s, body)}"
    signed, unsigned, forged = await connected(running, 3)
    signed[1].write(callback(body, *about, right))
    unsigned[1].write(callback(body))
    forged[1].write(callback(body, *about, "webhook-signature: v1,forged"))
    brought = [(await answer(connection)).status for connection in (signed, unsigned, forged)]

    with monkeypatch.context() as only_first_places:
        only_first_places.setattr(turns, "_TURN_MAX", 0)
        for connection in (unsigned, forged, signed):
            connection[1].write(b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")
        answers = [asyncio.create_task(answer(c)) for c in (signed, unsigned, forged)]
        await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        first = [task.done() for task in answers]
    signed[1].write(b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")  # begins the next turn
    statuses = [reply.status for reply in await asyncio.gather(*answers)]
    for _, writer in (signed, unsigned, forged):
        writer.close()

    assert brought == [200, 401, 401]
    assert first == [True, False, False]
    assert statuses == [200, 200, 200]


@pytest.mark.parametrize("chunked", [False, True], ids=["express", "aiohttp"])
async def test_connections_that_have_shown_no_valid_signature_or_key_are_read_last(
    running: Running, monkeypatch: pytest.MonkeyPatch, *, chunked: bool
) -> None:
    api = running.client
    unsigned = callback(b"{}")
    if chunked:
        unsigned = unsigned.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
        unsigned = unsigned.replace(b"{}", b"2\r\n{}\r\n0\r\n\r\n")
    wrong_key = b"".join(order(api, "a", "Authorization: Bearer quota_a_b"))
    wrong_key = wrong_key.replace(f"Authorization: Bearer {api.frontend_key}\r\n".encode(), b"")
    right = b"".join(order(api, "b"))
    failing, mended, fresh = await connected(running, 3)
    for connection, sent in ((failing, unsigned), (mended, wrong_key), (mended, right)):
        connection[1].write(sent)
        brought = await answer(connection)
    everybody = (failing, mended, fresh)

    with monkeypatch.context() as with_failing_shut_out:
        with_failing_shut_out.setattr(turns, "_FAILING_MAX", 0)
        for connection in everybody:
            connection[1].write(b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")
        answers = [asyncio.create_task(answer(connection)) for connection in everybody]
        await asyncio.wait(answers[1:])
        is_first_done = answers[0].done()
    statuses = [reply.status for reply in await asyncio.gather(*answers)]
    for _, writer in everybody:
        writer.close()

    assert brought.status == 201
    assert not is_first_done
    assert statuses == [200, 200, 200]


@pytest.mark.settings(usher=True)
async def test_who_connects_while_turns_follow_each_other_is_turned_away_as_all_are(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read before aiohttp waits for it, it would be served out of turn, as would each later one."""
    turn_everything_away(running, monkeypatch)
    (waiting,) = await connected(running, 1)
    with monkeypatch.context() as without_room:
        without_room.setattr(usher_module.Usher, "room", 0)
        waiting[1].write(b"".join(order(running.client, "waiting")))

        async def is_waiting() -> bool:
            return running.service.context.unread.waiting == 1

        await eventually(is_waiting)
        late = await connected(running, 8)
        for number, (_, writer) in enumerate(late):
            writer.write(b"".join(order(running.client, f"late-{number}")))
    answers = [await answer(connection) for connection in [waiting, *late]]
    for number, (_, writer) in enumerate(late):
        writer.write(b"".join(order(running.client, f"again-{number}")))
    answers += [await answer(connection) for connection in late]
    for _, writer in [waiting, *late]:
        writer.close()

    assert [reply.slug for reply in answers] == ["overloaded"] * 17
