"""What is refused is refused by its own name, says which member is wrong, and changes nothing."""

import json
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.raw_http import exchange, request, status
from tests.support.refusals import ORDER, PAYMENT, RESERVATIONS, assert_refused, fields, order

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
        nothing_paid = await api.callback(b"{}")

    assert_refused(empty, 422, "invalid-request", "candidate", "subjects", "venues")
    assert_refused(crowded, 422, "invalid-request", *unknown, "Candidate", "\u202e")
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
