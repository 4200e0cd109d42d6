"""The path of a candidate who does not pay; `test_client` has that of one who does."""

from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.exams import exam_definition


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
