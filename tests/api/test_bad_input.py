"""What is refused is refused by its own name, says which member is wrong, and changes nothing."""

import gzip
import json
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.exams import exam_definition
from tests.support.raw_http import exchange, request, status

ORDER = {
    "candidate": "candidate-1",
    "subjects": ["general"],
    "venues": ["jinan"],
    "accepted_notice": "2023-1",
}
PAYMENT = {
    "reservation": "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa",
    "status": "captured",
    "amount": 8000,
    "currency": "CNY",
    "paid_at": "2026-01-02T03:04:05.678Z",
    "provider_reference": "provider-1",
}
RESERVATIONS = "/v1/exams/exam-1/reservations"
BODY_MAX = 16_384

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"{}{}",
    b"{'candidate': 1}",
    b'{"candidate": "a",}',
    b'{"candidate": NaN}',
    b'{"candidate": 01}',
    b'{"candidate": "\xff"}',
    b'{"candidate": "a\nb"}',
    b'{"candidate": "\\ud800"}',
    b'{"candidate": "\\udc00\\ud800"}',
    b"\xef\xbb\xbf{}",
    b"[" * 5000,
    b"\x00",
]
NOT_AN_OBJECT = [b"[]", b"null", b"true", b"5", b'"candidate"', b"[{}]"]

ODD_IDS = {
    "right to left": "\u202ejinan",
    "zero width": "jin\u200ban",
    "NUL": "jinan\x00",
    "line feed": "jinan\n",
    "separator of records": "jinan|tianjin",
    "separator of lists": "jinan,tianjin",
    "separator of fields": "jinan/general",
    "hash tag": "{jinan}",
    "other script": "济南",
    "wide letters": "ｊｉｎａｎ",
    "other case": "JINAN",
    "space around": " jinan ",
}


async def order(api: ApiClient, body: Any, key: str = "key-a") -> Reply:
    """Send an order with these bytes, or with this JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    return await api.call("POST", RESERVATIONS, data=sent, headers=headers)


def fields(reply: Reply) -> list[str]:
    return [error["field"] for error in reply.json["errors"]]


def assert_refused(reply: Reply, code: int, slug: str, *named: str) -> None:
    assert (reply.status, reply.slug) == (code, slug), reply
    assert {"type", "title", "status", "detail"} <= set(reply.json)
    assert reply.json["status"] == code
    assert all(error["detail"] for error in reply.json.get("errors", []))
    if named:
        assert fields(reply) == list(named), reply


async def test_a_body_that_is_no_json_is_malformed(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    async with nothing_changes():
        for body in NOT_JSON:
            with subtests.test(body=body[:30]):
                assert_refused(await order(api, body), 400, "malformed-json")
                assert_refused(await api.callback(body), 400, "malformed-json")
                reply = await api.call("PUT", "/v1/exams/exam-2", key=api.ops_key, data=body)
                assert_refused(reply, 400, "malformed-json")


async def test_json_that_is_no_object_is_well_formed_but_wrong(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    held = await api.reserve("candidate-2")
    checkout = f"/v1/reservations/{held.json['id']}/checkout"

    async with nothing_changes():
        for body in NOT_AN_OBJECT:
            with subtests.test(body=body):
                assert_refused(await order(api, body), 422, "invalid-request", "body")
                assert_refused(await api.callback(body), 422, "invalid-request", "body")
                reply = await api.call("POST", checkout, data=body)
                assert_refused(reply, 422, "invalid-request", "body")


@pytest.mark.parametrize(
    ("member", "values"),
    [
        (
            "candidate",
            [None, 1, True, [], {}, "", "a" * 65, "a b", "a/b", "a|b", "a,b", "é", "\x00"],
        ),
        ("subjects", [None, "general", {}, 5, [], ["general"] * 33, [str(i) for i in range(200)]]),
        ("venues", [None, "jinan", {}, True, [], [str(i) for i in range(200)]]),
        ("accepted_notice", [1, [], {}, 0.5, "x" * 65]),
    ],
)
async def test_an_order_with_a_member_of_the_wrong_kind_is_refused_by_its_name(
    api: ApiClient,
    nothing_changes: NothingChanges,
    subtests: pytest.Subtests,
    member: str,
    values: list[Any],
) -> None:
    async with nothing_changes():
        for value in values:
            with subtests.test(value=str(value)[:30]):
                reply = await order(api, {**ORDER, member: value})
                assert_refused(reply, 422, "invalid-request", member)


@pytest.mark.parametrize("member", ["subjects", "venues"])
async def test_a_list_names_the_place_of_each_wrong_or_repeated_id(
    api: ApiClient, nothing_changes: NothingChanges, member: str
) -> None:
    right = {"subjects": "general", "venues": "jinan"}[member]
    values = [right, 5, right, "", None, "x" * 65, [right]]

    async with nothing_changes():
        reply = await order(api, {**ORDER, member: values})

    places = [f"{member}[{i}]" for i in range(1, len(values))]
    assert_refused(reply, 422, "invalid-request", *places)


async def test_every_missing_and_every_unknown_member_is_named(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    unknown = {f"unknown-{i}": i for i in range(40)}

    async with nothing_changes():
        empty = await order(api, {})
        crowded = await order(api, {**ORDER, **unknown, "Candidate": "a", "\u202e": None})
        paid = await api.callback(json.dumps({**PAYMENT, "fee": 1, "event": "e"}).encode())
        nothing_paid = await api.callback(b"{}")

    assert_refused(empty, 422, "invalid-request", "candidate", "subjects", "venues")
    assert_refused(crowded, 422, "invalid-request", *unknown, "Candidate", "\u202e")
    assert_refused(paid, 422, "invalid-request", "fee", "event")
    assert_refused(nothing_paid, 422, "invalid-request", *PAYMENT)


async def test_an_order_without_acceptance_of_the_notice_says_which_version(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    without = {name: value for name, value in ORDER.items() if name != "accepted_notice"}
    wrong = [{**ORDER, "accepted_notice": value} for value in (None, False, "", "2022-1")]

    async with nothing_changes():
        for body in (without, *wrong):
            with subtests.test(body=body.get("accepted_notice", "missing")):
                reply = await order(api, body)
                assert_refused(reply, 422, "notice-not-accepted", "accepted_notice")
                assert reply.json["version"] == "2023-1"


async def test_odd_ids_are_unknown_venues_and_subjects(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    async with nothing_changes():
        for name, odd in ODD_IDS.items():
            with subtests.test(name):
                venue = await order(api, {**ORDER, "venues": ["jinan", odd]})
                subject = await order(api, {**ORDER, "subjects": ["general", odd]})
                assert_refused(venue, 422, "unknown-venue", "venues[1]")
                assert_refused(subject, 422, "unknown-subject", "subjects[1]")


async def test_two_subjects_of_one_session_are_refused(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        reply = await order(api, {**ORDER, "subjects": ["qms", "general", "ems"]})

    assert_refused(reply, 422, "same-session-twice", "subjects")
    assert reply.json["session"] == "day1-pm"
    assert reply.json["subjects"] == ["qms", "ems"]


@pytest.mark.parametrize("number", ["11010519491231002X", "11010519491231002x"])
async def test_a_national_id_number_is_refused_and_not_repeated(
    api: ApiClient, nothing_changes: NothingChanges, number: str
) -> None:
    async with nothing_changes():
        ordered = await order(api, {**ORDER, "candidate": number})
        looked_up = await api.get(f"/v1/exams/exam-1/candidates/{number}")
        wrong_digit = await api.get("/v1/exams/exam-1/candidates/110105194912310021")

    for reply in (ordered, looked_up):
        assert_refused(reply, 422, "national-id-refused", "candidate")
        assert "opaque id" in reply.json["errors"][0]["detail"]
        assert number.encode() not in reply.body
    assert wrong_digit.status == 200


async def test_the_idempotency_key_is_needed_and_bounded(
    running: Running, nothing_changes: NothingChanges
) -> None:
    api = running.client
    body = json.dumps(ORDER).encode()
    key = f"Authorization: Bearer {api.frontend_key}"

    async with nothing_changes():
        missing = await api.call("POST", RESERVATIONS, json=ORDER)
        blank = await order(api, ORDER, key="  ")
        long = await order(api, ORDER, key="k" * 256)
        other_script = await order(api, ORDER, key="钥匙")
        no_text = await exchange(
            api.url, request("POST", RESERVATIONS, key, "Idempotency-Key: \udcff", body=body)
        )
    longest = await order(api, ORDER, key="k" * 255)

    assert_refused(missing, 400, "idempotency-key-missing")
    assert_refused(blank, 400, "idempotency-key-missing")
    assert_refused(long, 422, "invalid-request", "Idempotency-Key")
    assert_refused(other_script, 422, "invalid-request", "Idempotency-Key")
    assert status(no_text) == 422
    assert longest.status == 201


@pytest.mark.parametrize(
    ("member", "values"),
    [
        ("reservation", [None, 1, "", "r" * 256, "a\x00", "a\nb", ["r"]]),
        ("status", [None, "refunded", "CAPTURED", "", 1, True, [], {}]),
        ("amount", [None, "8000", 8000.0, 8e3, True, -1, 10**12 + 1, 2**64, 10**30, [8000]]),
        ("currency", [None, 156, "", "cny", "CN", "CNYY", "C1Y", "C-Y", "ＣＮＹ"]),
        (
            "paid_at",
            [
                None,
                1767323045,
                "",
                "yesterday",
                "2026-01-02",
                "2026-01-02T03:04:05",
                "2026-01-02 03:04:05Z",
                "2026-01-02T03:04Z",
                "2026-02-30T03:04:05Z",
                "2026-01-02T24:00:00Z",
                "2026-01-02T03:04:05+24:00",
                "2026-01-02T03:04:05Z\n",
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
                "２０２６-01-02T03:04:05Z",
            ],
        ),
        ("provider_reference", [None, 1, "", "p" * 256, "a\x00", "a\tb", {}]),
    ],
)
async def test_a_callback_with_a_member_of_the_wrong_kind_is_refused_by_its_name(
    api: ApiClient,
    nothing_changes: NothingChanges,
    subtests: pytest.Subtests,
    member: str,
    values: list[Any],
) -> None:
    held = await api.reserve()
    payment = {**PAYMENT, "reservation": held.json["id"]}

    async with nothing_changes():
        for value in values:
            with subtests.test(value=str(value)[:30]):
                reply = await api.callback(json.dumps({**payment, member: value}).encode())
                assert_refused(reply, 422, "invalid-request", member)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T11:04:05.678+08:00", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
    ],
)
async def test_a_time_with_any_offset_and_precision_is_shown_in_utc_with_milliseconds(
    api: ApiClient, told: str, shown: str
) -> None:
    held = await api.reserve()

    paid = await api.pay(held.json, paid_at=told)
    seen = await api.get(f"/v1/reservations/{held.json['id']}")

    assert paid.json["outcome"] == "confirmed"
    assert seen.json["payment"]["paid_at"] == shown


async def test_a_body_of_exactly_the_limit_is_taken(api: ApiClient) -> None:
    body = json.dumps(ORDER).encode().ljust(BODY_MAX)

    told = await order(api, body)
    chunked = await api.call(
        "POST", RESERVATIONS, data=_pieces(body), headers={"Idempotency-Key": "key-a"}
    )

    assert (told.status, chunked.status) == (201, 201)


@pytest.mark.parametrize("size", [BODY_MAX + 1, 10 * BODY_MAX, 200 * BODY_MAX])
async def test_a_body_over_the_limit_is_too_large_however_it_is_sent(
    api: ApiClient, nothing_changes: NothingChanges, size: int
) -> None:
    body = json.dumps(ORDER).encode().ljust(size)
    key = f"Authorization: Bearer {api.frontend_key}"
    packed = gzip.compress(body)

    async with nothing_changes():
        told = await exchange(
            api.url, request("POST", RESERVATIONS, key, "Idempotency-Key: a", body=body)
        )
        chunked = await exchange(
            api.url,
            request("POST", RESERVATIONS, key, "Idempotency-Key: a", "Transfer-Encoding: chunked")
            + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body),
        )
        unpacked = await exchange(
            api.url,
            request(
                "POST",
                RESERVATIONS,
                key,
                "Idempotency-Key: a",
                "Content-Encoding: gzip",
                body=packed,
            ),
        )
        callback = await api.callback(body[: BODY_MAX + 1])

    for answer in (told, chunked, unpacked):
        assert status(answer) == 413
        assert b"/problems/payload-too-large" in answer
    assert_refused(callback, 413, "payload-too-large")
    assert callback.json["max_bytes"] == BODY_MAX


async def test_a_body_that_does_not_unpack_is_malformed(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    sent = request(
        "POST",
        RESERVATIONS,
        f"Authorization: Bearer {api.frontend_key}",
        "Idempotency-Key: a",
        "Content-Encoding: gzip",
        body=json.dumps(ORDER).encode(),
    )

    async with nothing_changes():
        answer = await exchange(api.url, sent)

    assert status(answer) == 400
    assert b"/problems/malformed-json" in answer


async def test_a_checkout_takes_no_members(api: ApiClient, nothing_changes: NothingChanges) -> None:
    held = await api.reserve()
    path = f"/v1/reservations/{held.json['id']}/checkout"

    async with nothing_changes():
        unknown = await api.call("POST", path, json={"grace_s": 9, "\x00": 1})
        malformed = await api.call("POST", path, data=b"{")
        large = await api.call("POST", path, data=b"{}".ljust(BODY_MAX + 1))
    empty = await api.call("POST", path, json={})

    assert_refused(unknown, 422, "invalid-request", "grace_s", "\x00")
    assert_refused(malformed, 400, "malformed-json")
    assert_refused(large, 413, "payload-too-large")
    assert empty.status == 200


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
    second = b"GET /v1/nothing HTTP/1.1\r\nHost: quota\r\n\r\n"

    answer = await exchange(api.url, first + second + first + request("GET", "/v1/exams/exam-9"))

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


async def test_a_definition_that_is_wrong_has_all_its_problems_listed(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    definition = exam_definition("exam-2")
    definition["fee"]["amount"] = -1
    definition["title"]["en"] = "a\x00b"
    definition["unknown"] = 1
    definition["seats"]["jinan"]["general"] = 2**31

    async with nothing_changes():
        reply = await api.import_exam(definition)
        elsewhere = await api.call(
            "PUT", "/v1/exams/exam-3", key=api.ops_key, json=exam_definition("exam-2")
        )
        odd = await api.call("PUT", "/v1/exams/a%2Fb", key=api.ops_key, json={})

    assert_refused(reply, 422, "definition-refused")
    assert {"fee.amount", "title.en", "unknown", "seats.jinan.general"} <= set(fields(reply))
    assert_refused(elsewhere, 422, "definition-refused", "id")
    assert_refused(odd, 422, "definition-refused")


async def _pieces(body: bytes) -> Any:
    """Yield a body in pieces, so that its length is not told."""
    for i in range(0, len(body), 4000):
        yield body[i : i + 4000]
