"""A connection: however bytes are cut, each request is taken once, in order, with its own body."""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.http.application import PlainRequest
from quota_service.http.protocol import HEAD_MAX_BYTES, Connection

CALL = "/call"
STREAM = "/stream"


class Transport(asyncio.Transport):
    """Remembers what was written, and whether it is read and open."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_open = True
        self.is_read = True
        self.has_eof = False

    def write_eof(self) -> None:
        self.has_eof = True

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class Aiohttp(asyncio.Protocol):
    """Stands for what a connection becomes."""

    def __init__(self) -> None:
        self.data = b""
        self.is_made = False

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        self.is_made = True

    def data_received(self, data: bytes) -> None:
        self.data += data


class Application:
    """Takes requests for one address, and answers when it is told to, or at once."""

    body_max_bytes = 100
    head_timeout_s = 1000.0
    body_timeout_s = 2000.0
    idle_timeout_s = 3000.0

    def __init__(self, *, answers_at_once: bool, reads_at_once: bool = True) -> None:
        self.answers_at_once = answers_at_once
        self.reads_at_once = reads_at_once
        self.unread: list[Callable[[], None]] = []
        self.taken: list[tuple[str, bytes]] = []
        self.malformed: list[str] = []
        self.slow = 0
        self.waiting: list[Connection] = []
        self.successor = Aiohttp()

    def read(self, parse: Callable[[], None]) -> None:
        if self.reads_at_once:
            parse()
        else:
            self.unread.append(parse)

    def find(self, method: bytes, target: str) -> str | None:
        return method.decode() if target == CALL else None

    def take(self, connection: Connection, plain: PlainRequest) -> None:
        self.taken.append((plain.read_headers()["X-Name"], plain.body))
        if self.answers_at_once:
            connection.answer(b"answer")
        else:
            self.waiting.append(connection)

    def refuse_malformed(self, connection: Connection, cause: str) -> None:
        self.malformed.append(cause)
        connection.answer(b"400", is_last=True)

    def refuse_slow(self, connection: Connection, _plain: PlainRequest) -> None:
        self.slow += 1
        connection.answer(b"408", is_last=True)

    def by_aiohttp(self) -> asyncio.Protocol:
        return self.successor

    def has_end(self, target: str) -> bool:
        return target != STREAM


def request(name: str, body: bytes = b"", *headers: str, target: str = CALL) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: q", f"X-Name: {name}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Served:
    """One connection, and what stands on its two sides."""

    def __init__(self, *, answers_at_once: bool = True, reads_at_once: bool = True) -> None:
        self.application = Application(answers_at_once=answers_at_once, reads_at_once=reads_at_once)
        self.lost: list[Connection] = []
        self.connection = Connection(self.application, "127.0.0.1", self.lost.append)
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def receive(self, data: bytes, cuts: list[int]) -> None:
        """Let data come in pieces; answer what waits between them."""
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(places):
            if start < stop and self.transport.is_open:
                self.connection.data_received(data[start:stop])
            if stop % 2:
                self.read_one()
            self.answer_one()
        while self.read_one() or self.answer_one():
            pass

    def read_one(self) -> bool:
        unread = self.application.unread
        if is_any := bool(unread):
            unread.pop(0)()
        return is_any

    def answer_one(self) -> bool:
        waiting = self.application.waiting
        if is_any := bool(waiting):
            waiting.pop(0).answer(b"answer")
        return is_any


def run(check: Any) -> None:
    """Run a check inside of a loop, whose clock connections read."""

    async def inside() -> None:
        check()

    asyncio.run(inside())


bodies = st.lists(st.binary(max_size=60), min_size=1, max_size=6)
cuts = st.lists(st.integers(0, 2_000), max_size=12)


@given(bodies=bodies, cuts=cuts, at_once=st.booleans(), reads=st.booleans())
def test_however_they_are_cut_requests_are_taken_in_order(
    bodies: list[bytes], cuts: list[int], *, at_once: bool, reads: bool
) -> None:
    def check() -> None:
        served = Served(answers_at_once=at_once, reads_at_once=reads)
        served.receive(b"".join(request(str(n), body) for n, body in enumerate(bodies)), cuts)

        assert served.application.taken == [(str(n), body) for n, body in enumerate(bodies)]
        assert served.transport.sent == [b"answer"] * len(bodies)
        assert served.connection.is_idle
        assert served.transport.is_open

    run(check)


@given(bodies=bodies, cuts=cuts, at_once=st.booleans(), reads=st.booleans())
def test_the_first_that_is_not_plain_makes_it_aiohttps_from_that_request_on(
    bodies: list[bytes], cuts: list[int], *, at_once: bool, reads: bool
) -> None:
    unusual = request("unusual", b"", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    behind = request("behind", b"body")

    def check() -> None:
        served = Served(answers_at_once=at_once, reads_at_once=reads)
        plain = b"".join(request(str(n), body) for n, body in enumerate(bodies))
        served.receive(plain + unusual + behind, cuts)

        assert [name for name, _ in served.application.taken] == [
            str(n) for n in range(len(bodies))
        ]
        assert served.application.successor.is_made
        assert served.application.successor.data == unusual + behind

    run(check)


@pytest.mark.parametrize(
    "unusual",
    [
        request("n", b"", "Connection: close"),
        request("n", b"", "Expect: 100-continue"),
        request("n", b"", "Content-Encoding: gzip"),
        request("n", b"", "Connection: Upgrade", "Upgrade: websocket"),
        request("n", b"x" * 101),
        request("n", target="/other"),
        b"POST /call HTTP/1.0\r\nX-Name: n\r\n\r\n",
    ],
)
def test_what_is_more_than_plain_is_aiohttps(unusual: bytes) -> None:
    def check() -> None:
        served = Served()
        served.receive(unusual, [])

        assert served.application.taken == []
        assert served.application.successor.data == unusual
        assert math.isinf(served.connection.deadline_s)

    run(check)


@pytest.mark.parametrize(
    "wrong",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /call HTTP/1.1\r\n\r\n",
        b"GET /call HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /call HTTP/1.1\r\nHost: q\nContent-Length: 5\r\n\r\n",
        b"POST /call HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /call HTTP/1.1\r\nHost: q\r\nX: " + b"x" * HEAD_MAX_BYTES,
        b"GET /call HTTP/1.1\r\nHost: q\r\nContent-Length: " + b"0" * 5000 + b"\r\n\r\n",
        b"GET /call HTTP/1.1\r\nHost: q\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /call HTTP/2.0\r\nHost: q\r\n\r\n",
        b"GET /call HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_nothing_behind_it_is_taken(wrong: bytes) -> None:
    def check() -> None:
        served = Served()
        served.receive(request("first") + wrong + request("behind"), [])

        assert [name for name, _ in served.application.taken] == ["first"]
        assert len(served.application.malformed) == 1
        assert served.transport.sent == [b"answer", b"400"]
        assert served.transport.has_eof
        served.connection.data_received(request("later"))
        assert len(served.application.taken) == 1
        assert not served.connection.eof_received()
        served.connection.expire()
        assert not served.transport.is_open

    run(check)


def test_what_comes_while_one_is_at_work_is_kept_up_to_a_bound_and_then_not_read() -> None:
    def check() -> None:
        served = Served(answers_at_once=False)
        for number in range(2_000):
            if served.transport.is_read:
                served.connection.data_received(request(str(number), b"x" * 60))
        was_read = served.transport.is_read
        while served.answer_one():
            pass

        assert not was_read
        assert served.transport.is_read
        names = [int(name) for name, _ in served.application.taken]
        assert names == list(range(len(names)))
        assert 100 < len(names) < 2_000

    run(check)


def test_a_client_that_does_not_read_has_no_more_begun_and_is_broken_off_in_time() -> None:
    def check() -> None:
        served = Served()
        served.connection.pause_writing()
        assert not served.transport.is_read
        served.connection.data_received(request("kept"))
        taken = list(served.application.taken)
        in_time_s = served.connection.deadline_s - asyncio.get_running_loop().time()
        served.connection.resume_writing()

        assert taken == []
        assert 0 < in_time_s <= Application.idle_timeout_s
        assert served.application.taken == [("kept", b"")]
        served.connection.pause_writing()
        served.connection.expire()
        assert not served.transport.is_open

    run(check)


def test_each_part_of_a_request_has_its_time() -> None:
    def check() -> None:
        loop = asyncio.get_running_loop()
        served = Served(answers_at_once=False)
        whole = request("slow", b"body")

        def left_s() -> float:
            return served.connection.deadline_s - loop.time()

        assert 0 < left_s() <= Application.head_timeout_s
        served.connection.data_received(whole[:10])
        assert left_s() <= Application.head_timeout_s
        served.connection.data_received(whole[10:-2])
        assert Application.head_timeout_s < left_s() <= Application.body_timeout_s
        served.connection.data_received(whole[-2:])
        assert math.isinf(left_s())
        served.answer_one()
        assert Application.body_timeout_s < left_s() <= Application.idle_timeout_s
        served.connection.data_received(whole[:-2])
        served.connection.expire()
        assert (served.application.slow, served.transport.has_eof) == (1, True)
        served.connection.expire()
        assert (served.application.slow, served.transport.is_open) == (1, False)

    run(check)


@pytest.mark.parametrize("target", [CALL, "/other", STREAM])
def test_a_client_that_sends_no_more_gets_its_answer_where_there_is_one(target: str) -> None:
    def check() -> None:
        served = Served(answers_at_once=False)
        served.connection.data_received(request("last", target=target))
        stays = served.connection.eof_received()
        served.answer_one()

        assert stays is (target != STREAM)
        assert served.transport.is_open is (target != CALL)

    run(check)


def test_what_waits_to_be_parsed_is_neither_idle_nor_late_and_is_answered_before_the_end() -> None:
    def check() -> None:
        served = Served(reads_at_once=False)
        served.connection.data_received(request("unread"))
        served.connection.data_received(request("behind"))
        waited = len(served.application.unread)
        is_idle = served.connection.is_idle
        served.connection.expire()
        stays = served.connection.eof_received()
        while served.read_one():
            pass

        assert (waited, is_idle, stays) == (1, False, True)
        assert [name for name, _ in served.application.taken] == ["unread", "behind"]
        assert served.transport.sent == [b"answer"] * 2
        assert not served.transport.is_open

    run(check)


def test_what_waits_to_be_parsed_goes_with_its_client() -> None:
    def check() -> None:
        served = Served(reads_at_once=False)
        served.connection.data_received(request("gone"))
        served.connection.connection_lost(None)
        served.read_one()

        assert served.application.taken == []
        assert served.lost == [served.connection]

    run(check)


def test_half_a_request_ends_with_its_client() -> None:
    def check() -> None:
        served = Served()
        served.connection.data_received(request("half", b"body")[:-1])

        assert not served.connection.eof_received()

    run(check)


@pytest.mark.parametrize("at_once", [False, True])
def test_part_of_a_request_behind_an_answer_has_the_time_of_a_head(*, at_once: bool) -> None:
    def check() -> None:
        served = Served(answers_at_once=at_once)
        served.connection.data_received(request("first") + b"P")
        served.answer_one()

        left_s = served.connection.deadline_s - asyncio.get_running_loop().time()
        assert served.transport.sent == [b"answer"]
        assert 0 < left_s <= Application.head_timeout_s

    run(check)


def test_empty_lines_are_no_request_and_give_no_more_time() -> None:
    def check() -> None:
        served = Served()
        before_s = served.connection.deadline_s
        served.connection.data_received(b"\r\n")

        assert served.connection.deadline_s == before_s

    run(check)


def test_however_often_it_is_answered_no_more_than_a_bound_is_kept() -> None:
    def check() -> None:
        served = Served(answers_at_once=False)
        received = 0
        for number in range(400):
            if served.transport.is_read:
                served.connection.data_received(request(str(number), b"x" * 60) * 1000)
                received += 1000
            served.answer_one()

        assert received < 2_000

    run(check)


def test_many_at_once_leave_others_their_turn() -> None:
    async def check() -> None:
        served = Served()
        served.connection.data_received(b"".join(request(str(n)) for n in range(100)))
        at_once = len(served.application.taken)
        for _ in range(10):
            await asyncio.sleep(0)

        assert at_once == 32
        assert [name for name, _ in served.application.taken] == [str(n) for n in range(100)]

    asyncio.run(check())
