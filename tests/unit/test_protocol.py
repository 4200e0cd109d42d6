"""A connection: however bytes are cut, each request is taken once, in order, with its own body."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.http.protocol import HEAD_MAX_BYTES
from tests.support.one_connection import CALL, STREAM, Application, Served, request, run

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


@pytest.mark.parametrize("blanks", ["", " ", "\t", " \t "])
def test_blanks_around_the_id_and_the_length_of_a_request_are_no_part_of_them(blanks: str) -> None:
    def check() -> None:
        served = Served()
        lines = f"X-Request-ID: {blanks}request-7{blanks}", f"Content-Length: {blanks}4{blanks * 9}"
        served.receive(request("n", b"", *lines) + b"body", [])

        assert served.application.taken == [("n", b"body")]
        assert served.application.offered_ids == ["request-7"]

    run(check)


def test_a_crowd_of_requests_on_one_connection_waits_for_its_turn_and_is_answered_to_the_last() -> (
    None
):
    def check() -> None:
        served = Served()
        served.connection.data_received(b"".join(request(str(n)) for n in range(80)))
        at_once = len(served.application.taken)
        stays = served.connection.eof_received()
        is_open = served.transport.is_open
        while served.read_one():
            pass

        assert (at_once, stays, is_open) == (32, True, True)
        assert [name for name, _ in served.application.taken] == [str(n) for n in range(80)]
        assert not served.transport.is_open

    run(check)
