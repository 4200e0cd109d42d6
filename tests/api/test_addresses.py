"""Addresses, methods and HTTP itself: what is sent wrongly is refused, and changes nothing."""

import json

import pytest

from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient
from tests.support.raw_http import exchange, request, status
from tests.support.refusals import ORDER, RESERVATIONS, assert_refused, order


async def test_unknown_exams_and_reservations_are_not_found(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    serial = "a" * 24
    unknown = [
        f"exam-1.0.{serial}",
        f"exam-1.1.{serial}",
        f"exam-1.9999.{serial}",
        f"exam-9.0.{serial}",
        f"exam-1.0.{serial}%0a",
        "exam-1",
        "x" * 4000,
        "..%2f..%2fopenapi.json",
        "%00",
        "%ff",
        "%ed%a0%80",
        "%E2%80%AE",
    ]

    async with nothing_changes():
        for name in unknown:
            with subtests.test(name[:40]):
                path = f"/v1/reservations/{name}"
                for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/checkout")):
                    reply = await raw_reply(api, method, path + suffix)
                    assert reply == (404, b"unknown-reservation")
        for name in ("exam-9", "EXAM-1", "exam-1%00", "%ff", "exam-1%2F..", "%E2%80%AE", "a" * 99):
            with subtests.test(name):
                for path in ("", "/availability", "/candidates/candidate-1"):
                    reply = await raw_reply(api, "GET", f"/v1/exams/{name}{path}")
                    assert reply == (404, b"unknown-exam")
                body = json.dumps(ORDER).encode()
                reply = await raw_reply(api, "POST", f"/v1/exams/{name}/reservations", body)
                assert reply == (404, b"unknown-exam")


async def raw_reply(api: ApiClient, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a path exactly as it stands; return status and slug."""
    headers = (f"Authorization: Bearer {api.frontend_key}", "Idempotency-Key: a")
    answer = await exchange(api.url, request(method, path, *headers, body=body))
    _, _, after = answer.partition(b'"type":"/problems/')
    return status(answer), after.partition(b'"')[0]


@pytest.mark.parametrize(
    "candidate", ["%00", "%0a", "a%20b", "a%2Fb", "a|b", "%E2%80%AE", "%ff", "a" * 65, "%7C"]
)
async def test_an_odd_candidate_in_the_path_is_refused_by_its_name(
    api: ApiClient, nothing_changes: NothingChanges, candidate: str
) -> None:
    async with nothing_changes():
        reply = await raw_reply(api, "GET", f"/v1/exams/exam-1/candidates/{candidate}")

    assert reply == (422, b"invalid-request")


async def test_an_address_that_is_none_is_not_found(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    paths = ["/", "/v1", "/v1/exams/", "//v1/exams", "/v1/../v1/exams", "/V1/exams", "/metrics"]

    async with nothing_changes():
        for path in (*paths, "/v1/exams/exam-1/reservations/", "/v1/reservations/", "/%00"):
            with subtests.test(path):
                assert await raw_reply(api, "GET", path) == (404, b"not-found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/exams", {"GET", "HEAD"}),
        ("/v1/exams/exam-1", {"GET", "HEAD", "PUT"}),
        (RESERVATIONS, {"POST"}),
        ("/v1/reservations/x", {"GET", "HEAD", "DELETE"}),
        ("/v1/reservations/x/checkout", {"POST"}),
        ("/v1/payment-callbacks", {"POST"}),
        ("/livez", {"GET", "HEAD"}),
    ],
)
async def test_a_method_that_an_address_does_not_take_is_answered_with_those_it_takes(
    api: ApiClient, nothing_changes: NothingChanges, path: str, allowed: set[str]
) -> None:
    refused = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - allowed

    async with nothing_changes():
        replies = {method: await api.call(method, path) for method in refused}

    for method, reply in replies.items():
        assert reply.status == 405, method
        assert allowed <= {name.strip() for name in reply.headers["Allow"].split(",")}, method
        if method != "HEAD":
            assert_refused(reply, 405, "method-not-allowed")


async def test_a_head_request_is_answered_as_a_get_without_its_body(api: ApiClient) -> None:
    for path in ("/v1/exams/exam-1", "/v1/exams/exam-1/availability"):
        got = await api.get(path)
        head = await api.call("HEAD", path)

        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.body))
        assert head.headers["Content-Type"] == got.headers["Content-Type"]


async def test_requests_in_one_packet_are_answered_in_order(api: ApiClient) -> None:
    first = b"GET /livez HTTP/1.1\r\nHost: quota\r\n\r\n"
    second = b"GET /v1/exams/exam-9 HTTP/1.1\r\nHost: quota\r\n\r\n"

    answer = await exchange(api.url, first + second + first + request("GET", "/v1/nothing"))

    lines = [line for line in answer.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert [line.partition(b"HTTP/1.1 ")[2][:3] for line in lines] == [
        b"200",
        b"404",
        b"200",
        b"404",
    ]


async def test_a_client_may_ask_before_it_sends_the_body(api: ApiClient) -> None:
    body = json.dumps(ORDER).encode()
    headers = (f"Authorization: Bearer {api.frontend_key}", "Idempotency-Key: a")

    answer = await exchange(
        api.url, request("POST", RESERVATIONS, *headers, "Expect: 100-continue", body=body)
    )

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: quota\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: quota\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: quota\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: quota\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: quota\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: quota\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_is_answered_400_and_the_service_goes_on(
    api: ApiClient, nothing_changes: NothingChanges, sent: bytes
) -> None:
    async with nothing_changes():
        answer = await exchange(api.url, sent)

    assert status(answer) == 400
    assert (await api.get("/livez")).status == 200


async def test_every_allowed_character_of_a_candidate_works_in_body_and_path(
    api: ApiClient,
) -> None:
    candidate = "Az09._:@~+=-"

    held = await order(api, {**ORDER, "candidate": candidate})
    plain = await api.get(f"/v1/exams/exam-1/candidates/{candidate}")
    escaped = await raw_reply(api, "GET", "/v1/exams/exam-1/candidates/Az09._%3A%40~%2B%3D-")

    assert held.json["candidate"] == candidate
    assert [r["id"] for r in plain.json["reservations"]] == [held.json["id"]]
    assert escaped == (200, b"")
