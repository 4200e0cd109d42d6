"""What is read of a request before it is parsed: its class, and for certain where it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.api.request_head import read_head
from quota_service.api.routes import ROUTES
from quota_service.ledger.api_keys import Scope
from quota_service.overload.classes import Work, work_of

ORDER = b"POST /v1/exams/e/reservations HTTP/1.1\r\n"

CLASSES = {
    "POST /v1/payment-callbacks": Work.CONFIRM,
    "DELETE /v1/reservations/{reservation}": Work.RELEASE,
    "POST /v1/reservations/{reservation}/checkout": Work.RELEASE,
    "PUT /v1/reservations/{reservation}/venue": Work.RELEASE,
    "POST /v1/reservations/{reservation}/refund": Work.RELEASE,
    "POST /v1/exams/{exam}/reservations": Work.RESERVE,
    "POST /v1/exams/{exam}/waiting-room/claims": Work.RESERVE,
    "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}": Work.RESERVE,
    "GET /v1/reservations/{reservation}": Work.OWN_READ,
    "GET /v1/exams/{exam}/candidates/{candidate}": Work.OWN_READ,
    "POST /v1/exams/{exam}/waiting-room": Work.JOIN,
    "GET /v1/exams/{exam}/availability/stream": Work.FREE,
    "GET /livez": Work.FREE,
    "GET /readyz": Work.FREE,
}
"""The class of each call that is neither for ops nor a public read."""


@pytest.mark.parametrize("call", [f"{route.method} {route.path}" for route in ROUTES])
def test_every_route_is_in_the_class_it_should_be_in(call: str) -> None:
    (route,) = [route for route in ROUTES if f"{route.method} {route.path}" == call]
    otherwise = Work.OPS if route.scope is Scope.OPS else Work.PUBLIC_READ

    assert route.work == CLASSES.get(call, otherwise)


@pytest.mark.parametrize(("call", "work"), CLASSES.items())
def test_a_real_address_is_in_the_class_of_its_route(call: str, work: Work) -> None:
    method, path = call.split(" ")
    target = path.format(exam="exam-1", reservation="exam-1.0.abc", candidate="c-1").encode()

    assert work_of(method.encode(), target) == work
    assert work_of(method.encode(), target + b"?a=/livez") == work


@pytest.mark.parametrize(
    "target", [b"/", b"/livez/x", b"/v1/exams", b"/v2/payment-callbacks", b"*", b"http://a/livez"]
)
def test_an_address_that_is_made_up_gets_no_better_place(target: bytes) -> None:
    assert work_of(b"POST", target) is Work.PUBLIC_READ
    assert work_of(b"POST", b"/v1/exams/e/reservation%73") is Work.PUBLIC_READ


def test_a_whole_request_is_known_to_be_whole() -> None:
    head = read_head(ORDER + b"Host: q\r\nCONTENT-length: 4\r\n\r\nbody")

    assert head is not None
    assert (head.work, head.length, head.missing) == (Work.RESERVE, 4, 0)
    assert head.is_plain


@pytest.mark.parametrize(
    ("rest", "missing"),
    [
        (b"Content-Length: 9\r\n\r\nbody", 5),
        (b"Content-Length: 9\r\n\r\n", 9),
        (b"Host: q\r\n\r\n", 0),
        (b"Content-Length: 2\r\n\r\nbody", -2),
    ],
)
def test_what_is_missing_of_a_body_is_counted(rest: bytes, missing: int) -> None:
    head = read_head(ORDER + rest)

    assert head is not None
    assert head.missing == missing


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ORDER,
        ORDER + b"Host: q\r\n",
        ORDER + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ORDER + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        ORDER + b"Content-Length: +4\r\n\r\nbody",
        ORDER + b"Content-Length: 4, 4\r\n\r\nbody",
        ORDER + b"Content-Length: \r\n\r\n",
        ORDER + b"Content-Length: 99999999999\r\n\r\n",
        b"POST /v1/exams/e/reservations HTTP/1.0\r\n\r\n",
        b"POST  /v1/exams/e/reservations HTTP/1.1\r\n\r\n",
        b"POST /v1/exams/e/reservations\r\n\r\n",
        ORDER + b"Host: q\nContent-Length: 5\r\n\r\n",
        ORDER + b"Host: q\rContent-Length: 5\r\n\r\n",
        ORDER + b"Content-Length : 5\r\n\r\n",
        ORDER + b"Host: q\nTransfer-Encoding: chunked\r\n\r\n",
        ORDER + b"Host: q\r\n Content-Length: 5\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_of_the_plain_form_is_left_to_the_parser(data: bytes) -> None:
    assert read_head(data) is None


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (b"Connection: keep-alive", True),
        (b"Connection: Keep-Alive", True),
        (b"connection: close", False),
        (b"Connection: upgrade", False),
        (b"Expect: 100-continue", False),
        (b"X-Connection: close", True),
    ],
)
def test_a_request_that_wants_more_than_an_answer_is_not_answered_here(
    line: bytes, *, plain: bool
) -> None:
    head = read_head(ORDER + line + b"\r\nHost: q\r\n\r\n")

    assert head is not None
    assert head.is_plain is plain


def test_the_request_id_is_found_as_it_was_sent() -> None:
    head = read_head(ORDER + b"X-REQUEST-ID:  Frontend-7 \r\nHost: q\r\n\r\n")
    last = read_head(ORDER + b"Host: q\r\nx-request-id: A\r\n\r\n")
    none = read_head(ORDER + b"Host: q\r\n\r\n")

    assert head is not None
    assert last is not None
    assert none is not None
    assert (head.request_id, last.request_id, none.request_id) == (b"Frontend-7", b"A", None)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data: bytes) -> None:
    head = read_head(data)

    assert head is None or head.missing <= head.length
    with_line = read_head(ORDER + data)
    if with_line is not None:
        assert with_line.work is Work.RESERVE
        assert isinstance(with_line.is_plain, bool)
        assert with_line.request_id is None or b"\r" not in with_line.request_id
