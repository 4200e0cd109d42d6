"""POST /v1/exams/{exam}/archive: an exam that is over leaves everything but its own records."""

from tests.conftest import Running
from tests.support.contract import Contract
from tests.support.refusals import assert_refused
from tests.support.retirement import end

ARCHIVE = "POST /v1/exams/{exam}/archive"
PATH = "/v1/exams/exam-1/archive"


async def test_an_exam_that_is_archived_is_out_of_the_lists_and_its_bookings_are_read(
    running: Running,
) -> None:
    api, contract = running.client, Contract()
    booked = (await api.reserve()).json
    await api.pay(booked)
    early = await api.call("POST", PATH, key=api.ops_key)
    await end(running.service, 1)

    forbidden = await api.call("POST", PATH)
    done = await api.call("POST", PATH, key=api.ops_key)
    again = await api.call("POST", PATH, key=api.ops_key)

    assert_refused(early, 409, "exam-not-over")
    assert_refused(forbidden, 403, "forbidden")
    assert (done.status, done.json["exam"], again.json) == (200, "exam-1", done.json)
    for reply in (early, forbidden, done):
        contract.check(ARCHIVE, reply)
    assert (await api.get("/v1/exams")).json["exams"] == []
    reservation = await api.get(f"/v1/reservations/{booked['id']}")
    assert (reservation.json["state"], reservation.json["payment"]["outcome"]) == (
        "confirmed",
        "confirmed",
    )
    candidate = await api.get("/v1/exams/exam-1/candidates/candidate-1")
    assert candidate.json["reservations"][0]["id"] == booked["id"]
    for query in ("", "?for=excel"):
        file = await api.get(f"/v1/exams/exam-1/bookings.csv{query}", key=api.ops_key)
        assert booked["id"].encode() in file.body
    due = await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)
    assert due.json["refunds_due"] == []
    assert_refused(await api.get("/v1/exams/exam-1"), 410, "exam-archived")
    assert_refused(await api.get("/v1/exams/exam-1/availability"), 410, "exam-archived")
    assert_refused(await api.reserve("candidate-2"), 410, "exam-archived")
    give_back = await api.call("DELETE", f"/v1/reservations/{booked['id']}")
    assert_refused(give_back, 410, "exam-archived")


async def test_an_exam_with_money_due_is_not_archived_until_that_is_settled(
    running: Running,
) -> None:
    api, contract = running.client, Contract()
    booked = (await api.reserve()).json
    await api.pay(booked)
    await api.pay(booked)
    await end(running.service, 1)

    early = await api.call("POST", PATH, key=api.ops_key)
    due = await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)
    number = due.json["refunds_due"][0]["id"]
    await api.call("POST", f"/v1/exams/exam-1/refunds-due/{number}/settle", key=api.ops_key)
    done = await api.call("POST", PATH, key=api.ops_key)

    assert_refused(early, 409, "exam-unfinished")
    assert early.json["unfinished"] == ["refunds_due"]
    contract.check(ARCHIVE, early)
    assert done.status == 200
