"""One log line for each refusal and each step, found by the request id that a client sent."""

import io
import json
from typing import Any

import pytest

from quota_service.ledger.api_keys import split_key
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.raw_http import exchange, request
from tests.support.records import move_due_into_the_past
from tests.support.refusals import ORDER, RESERVATIONS


def lines(log: io.StringIO, **members: object) -> list[dict[str, Any]]:
    """Return the log's lines that have these members."""
    parsed = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in parsed if members.items() <= line.items()]


def key_id(key: str) -> str:
    return (split_key(key) or ("", ""))[0]


async def reserve(api: ApiClient, name: str, **members: Any) -> Any:
    """Reserve under a request id, which is the idempotency key too."""
    headers = {"X-Request-ID": name, "Idempotency-Key": name}
    return await api.call("POST", RESERVATIONS, json={**ORDER, **members}, headers=headers)


async def test_a_refusal_is_found_by_its_request_id(api: ApiClient, log_lines: io.StringIO) -> None:
    await reserve(api, "request-1", subjects=["ems"], venues=["tianjin"])
    await api.call(
        "DELETE", "/v1/reservations/exam-1.0.unknown", headers={"X-Request-ID": "request-2"}
    )

    (sold_out,) = lines(log_lines, message="refused", request_id="request-1")
    (unknown,) = lines(log_lines, message="refused", request_id="request-2")
    told = {name: sold_out[name] for name in ("slug", "exam", "candidate", "key_id")}
    assert told == {
        "slug": "sold-out",
        "exam": "exam-1",
        "candidate": "candidate-1",
        "key_id": key_id(api.frontend_key),
    }
    assert (unknown["slug"], unknown["reservation"]) == (
        "unknown-reservation",
        "exam-1.0.unknown",
    )


async def test_a_refusal_of_an_unusual_request_is_logged_alike(
    api: ApiClient, log_lines: io.StringIO
) -> None:
    headers = {"X-Request-ID": "request-1", "Idempotency-Key": "key-1", "Connection": "close"}
    order = {**ORDER, "subjects": ["ems"], "venues": ["tianjin"]}
    await api.call("POST", RESERVATIONS, json=order, headers=headers)

    (line,) = lines(log_lines, message="refused", request_id="request-1")
    assert (line["slug"], line["candidate"]) == ("sold-out", "candidate-1")
    assert line["key_id"] == key_id(api.frontend_key)


async def test_a_resident_id_number_is_refused_and_not_logged(
    api: ApiClient, log_lines: io.StringIO
) -> None:
    number = "11010519491231002X"
    await reserve(api, "request-1", candidate=number)
    await api.get(f"/v1/exams/exam-1/candidates/{number}")

    assert [line["slug"] for line in lines(log_lines, message="refused")] == [
        "national-id-refused",
        "national-id-refused",
    ]
    assert number not in log_lines.getvalue()


async def test_refusals_of_strangers_are_counted_and_do_not_fill_the_log(
    api: ApiClient, log_lines: io.StringIO
) -> None:
    for _ in range(20):
        await exchange(api.url, request("GET", "/v1/reservations/exam-1.0.any"))

    refused = lines(log_lines, message="refused", slug="unauthorized")
    assert 1 <= len(refused) < 20
    assert "reservation" not in refused[0]


@pytest.mark.settings(streams_max=0)
async def test_what_is_too_much_is_counted_and_does_not_fill_the_log(
    api: ApiClient, log_lines: io.StringIO
) -> None:
    for _ in range(20):
        reply = await api.call("GET", "/v1/exams/exam-1/availability/stream")
        assert reply.status == 503

    told = lines(log_lines, message="unavailable", part="service")
    assert 1 <= len(told) < 20
    assert (told[0]["cause"], told[0]["count"]) == ("too many streams are open already", 1)


async def test_each_step_of_a_reservation_has_a_line_with_who_asked_for_it(
    running: Running, log_lines: io.StringIO, redis_client: Any
) -> None:
    api, stores = running.client, running.service.stores
    held = (await reserve(api, "request-1")).json
    await api.call(
        "DELETE", f"/v1/reservations/{held['id']}", headers={"X-Request-ID": "request-2"}
    )
    late = (await reserve(api, "request-3", candidate="candidate-2")).json
    await move_due_into_the_past(redis_client, late["id"])
    await ExpiryWorker(stores, running.service.settings).run_once()
    drain = JournalDrainWorker(stores.maintenance, running.service.settings)

    await drain.run_once()
    await drain.run_once()

    steps = lines(log_lines, message="reservation step")
    names = ("request_id", "candidate", "reservation", "state")
    of_requests = [[line[name] for name in names] for line in steps[:3]]
    assert of_requests == [
        ["request-1", "candidate-1", held["id"], "held"],
        ["request-2", "candidate-1", held["id"], "released"],
        ["request-3", "candidate-2", late["id"], "held"],
    ]
    assert {line["key_id"] for line in steps[:3]} == {key_id(api.frontend_key)}
    (expired,) = steps[3:]
    assert (expired["state"], expired["candidate"]) == ("expired", "candidate-2")


async def test_a_refund_that_becomes_due_has_a_line(api: ApiClient, log_lines: io.StringIO) -> None:
    await api.pay({"id": "exam-1.0.unknown", "amount": 8000, "currency": "CNY"}, event="e-1")

    (line,) = lines(log_lines, message="refund due")
    assert (line["reason"], line["reservation"]) == ("unknown-reservation", "exam-1.0.unknown")
    assert line["key_id"] == "provider"
