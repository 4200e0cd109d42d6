"""What no call takes is refused before key, class, rate and size, always as a problem document."""

import gzip
import io
import json
import time

import pytest

from quota_service.http.priority import Priority
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.raw_http import exchange, parsed, request
from tests.support.refusals import ORDER, RESERVATIONS, assert_refused

BOMB = gzip.compress(b"0" * 15_000_000, 9)
PLAIN = json.dumps(ORDER).encode()
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: quota\r\n"


async def asked(api: ApiClient, sent: bytes) -> Reply:
    return parsed(await exchange(api.url, sent))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-gzip", "identity", "GZIP, gzip"])
async def test_a_body_with_any_content_encoding_is_refused(
    api: ApiClient, nothing_changes: NothingChanges, coding: str
) -> None:
    headers = (
        f"Authorization: Bearer {api.frontend_key}",
        "Idempotency-Key: a",
        f"Content-Encoding: {coding}",
    )

    async with nothing_changes():
        reply = await asked(api, request("POST", RESERVATIONS, *headers, body=PLAIN))

    assert_refused(reply, 415, "content-encoding-refused")
    assert reply.headers["Accept-Encoding"] == "identity"
    Contract().check("POST /v1/exams/{exam}/reservations", reply)


@pytest.mark.parametrize(
    "line",
    [
        "POST /v1/exams/exam-1/reservations",
        "POST /v1/payment-callbacks",
        "PUT /v1/exams/exam-1",
        "GET /livez",
        "GET /readyz",
        "GET /v1/exams/exam-1/availability",
        "GET /v1/exams/exam-1/availability/stream",
        "DELETE /nothing",
    ],
)
async def test_nothing_is_inflated_wherever_it_is_sent(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    inflated: list[str] = []

    def note(_self: object, encoding: str | None = None, *_args: object, **_more: object) -> None:
        inflated.append(str(encoding))

    # Every way to inflate begins here; the client of the test has nothing that is compressed.
    monkeypatch.setattr("aiohttp.http_parser.ZLibDecompressor.__init__", note)
    method, path = line.split(" ")

    reply = await asked(api, request(method, path, "Content-Encoding: gzip", body=BOMB))

    assert_refused(reply, 415, "content-encoding-refused")
    assert inflated == []


@pytest.mark.parametrize(
    "target",
    [
        "/v1/exams/exam-1#/availability/stream",
        "/v1/exams/exam-1/availability#x",
        "/v1/exams/exam-1/availability?subjects=general#x",
        "/v1/exams/exam-1/availability?#",
        "/livez#/v1/payment-callbacks",
        "/nothing#",
    ],
)
async def test_a_target_with_a_fragment_is_malformed(api: ApiClient, target: str) -> None:
    reply = await asked(api, request("GET", target))

    assert_refused(reply, 400, "malformed-request")


@pytest.mark.parametrize(
    ("line", "works"),
    [
        ("GET /v1/exams/exam-1/candidates/c", [Priority.OWN_READ]),
        ("GET /v1/exams/exam-1/%63andidates/c", [Priority.OWN_READ]),
        ("GET /v1/exams/exam-1/candidates/c%2Favailability%2Fstream", [Priority.OWN_READ]),
        ("GET http://q/v1/exams/exam-1/candidates/c", [Priority.OWN_READ]),
        ("GET /v1/exams/exam-1/audit%2Favailability/stream", []),
        ("POST /v1/exams/exam-1/%72efunds-due/1/settle", [Priority.OPS]),
        ("PUT /nothing/v1/payment-callbacks", []),
    ],
)
async def test_the_class_of_a_request_is_that_of_the_route_that_answers_it(
    running: Running, monkeypatch: pytest.MonkeyPatch, line: str, works: list[Priority]
) -> None:
    api, limiter = running.client, running.service.context.limiter
    acquired: list[Priority] = []
    acquire = limiter.acquire
    monkeypatch.setattr(limiter, "acquire", lambda work: acquired.append(work) or acquire(work))
    key = api.ops_key if "settle" in line else api.frontend_key
    method, target = line.split(" ")

    reply = await asked(api, request(method, target, f"Authorization: Bearer {key}"))

    assert acquired == works
    assert bool(works) or reply.status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/1.1\r\n\r\n",
        LIVEZ + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
        LIVEZ + b"X: a\x00b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: quota\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: quota\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ],
)
async def test_what_the_parser_refuses_is_a_problem_document_with_a_request_id(
    api: ApiClient, sent: bytes
) -> None:
    reply = await asked(api, sent)

    assert_refused(reply, 400, "malformed-request")
    assert reply.headers["X-Request-ID"]
    Contract().check("GET /livez", reply)


async def test_a_flood_of_what_is_no_http_writes_one_line_a_second_at_most(
    api: ApiClient, log_lines: io.StringIO
) -> None:
    secret = "quota_0123_not-to-be-logged"
    began_s = time.monotonic()

    for _ in range(30):
        await exchange(api.url, LIVEZ + f"Authorization: {secret}\x00\r\n\r\n".encode())

    took_s = time.monotonic() - began_s
    told = [json.loads(line) for line in log_lines.getvalue().splitlines() if "malformed" in line]
    assert 1 <= len(told) <= 1 + took_s
    assert told[0]["request_id"]
    assert told[0]["level"] == "info"
    assert secret not in log_lines.getvalue()
    assert "Traceback" not in log_lines.getvalue()


async def test_two_different_idempotency_keys_are_refused_and_the_same_twice_is_one(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    key = f"Authorization: Bearer {api.frontend_key}"
    first, second = "Idempotency-Key: a", "Idempotency-Key: b"

    async with nothing_changes():
        differ = await asked(api, request("POST", RESERVATIONS, key, first, second, body=PLAIN))
        empty = await asked(
            api, request("POST", RESERVATIONS, key, first, "Idempotency-Key:", body=PLAIN)
        )
    same = await asked(api, request("POST", RESERVATIONS, key, first, first, body=PLAIN))

    for reply in (differ, empty):
        assert_refused(reply, 400, "idempotency-key-ambiguous")
        Contract().check("POST /v1/exams/{exam}/reservations", reply)
    assert same.status == 201
