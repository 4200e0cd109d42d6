"""The path of a candidate, from looking to booked."""

from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import exam_definition


async def test_a_candidate_reserves_pays_and_is_confirmed(api: ApiClient) -> None:
    held = await api.reserve("candidate-1", ("general", "qms"), ("jinan",))
    paid = await api.pay(held.json)
    seen = await api.get(f"/v1/reservations/{held.json['id']}")

    assert (held.status, held.json["state"], held.json["amount"]) == (201, "held", 16000)
    assert paid.json == {"outcome": "confirmed", "reservation": held.json["id"]}
    assert (seen.json["state"], seen.json["payment"]["outcome"]) == ("confirmed", "confirmed")
    assert await api.remaining("jinan", "qms") == 1


async def test_an_unpaid_hold_goes_back_by_itself(running: Running) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2", ttl_s=1))
    held = await api.reserve(exam="exam-2")
    worker = ExpiryWorker(running.service.stores, running.service.settings)

    while not (await worker.run_once())["expired"]:
        assert (await api.get(f"/v1/reservations/{held.json['id']}")).json["state"] == "held"

    seen = await api.get(f"/v1/reservations/{held.json['id']}")
    assert seen.json["state"] == "expired"
    assert await api.remaining("jinan", "general", exam="exam-2") == 3
