"""Ops find a reservation by its id, its candidate or its payment, within the exams of their key."""

from collections.abc import Sequence

import pytest

from quota_service.ledger.api_keys import Scope
from tests.api.test_candidate_view import drain
from tests.api.test_key_rights import make_key
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.refusals import assert_refused


async def found(api: ApiClient, **query: str) -> Sequence[str]:
    """Return the ids of a search, in its order."""
    reply = await api.get("/v1/reservations", key=api.ops_key, params=query)
    assert reply.status == 200, reply
    return [each["id"] for each in reply.json["reservations"]]


async def test_ops_find_what_a_candidate_has_in_every_exam_or_in_one(running: Running) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))
    held = (await api.reserve("c-1")).json["id"]
    paid = (await api.reserve("c-1", exam="exam-2")).json
    await api.pay(paid)
    await api.reserve("c-2")
    await drain(running)

    assert await found(api, candidate="c-1") == sorted([held, paid["id"]])
    assert await found(api, candidate="c-1", exam="exam-2") == [paid["id"]]
    assert await found(api, candidate="c-3") == []
    reply = await api.get("/v1/reservations?candidate=c-1&exam=exam-2", key=api.ops_key)
    (shown,) = reply.json["reservations"]
    assert (shown["state"], shown["payment"]["outcome"]) == ("confirmed", "confirmed")


async def test_ops_find_a_reservation_by_its_id_and_by_what_paid_it(running: Running) -> None:
    api = running.client
    held = (await api.reserve("c-1")).json
    await api.pay(held, event="e-1", provider_reference="bank 7, é")
    await api.pay(held, event="e-2", provider_reference="bank 8")
    await api.pay("nobody", event="e-3", provider_reference="bank 9")

    assert await found(api, reservation=held["id"]) == [held["id"]]
    for reference in ("bank 7, é", "bank 8", "e-1", "e-2"):
        assert await found(api, reference=reference) == [held["id"]]
    for reference in ("bank 9", "e-3", "bank"):
        assert await found(api, reference=reference) == []
    *start, last = held["id"]
    assert await found(api, reservation="".join([*start, "q" if last != "q" else "p"])) == []
    assert await found(api, reference="e-1", candidate="c-1") == [held["id"]]
    assert await found(api, reference="e-1", candidate="c-2") == []
    assert await found(api) == []


async def test_what_is_found_comes_in_pages(running: Running) -> None:
    api = running.client
    ids = []
    for n in range(3):
        ids.append((await api.reserve("c-1", idempotency_key=f"key-{n}")).json["id"])
        await api.call("DELETE", f"/v1/reservations/{ids[-1]}")
    await drain(running)
    path = "/v1/reservations?candidate=c-1&limit=2"

    first = (await api.get(path, key=api.ops_key)).json
    rest = (await api.get(f"{path}&after={first['next']}", key=api.ops_key)).json

    pages = [[each["id"] for each in page["reservations"]] for page in (first, rest)]
    assert pages == [sorted(ids)[:2], sorted(ids)[2:]]
    assert rest["next"] is None


async def test_a_key_of_one_exam_finds_nothing_of_another(running: Running) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))
    mine = await make_key(running, Scope.OPS, exams=frozenset({"exam-2"}))
    theirs = (await api.reserve("c-1")).json
    await api.pay(theirs, event="e-1")
    await drain(running)

    for sought in (f"reservation={theirs['id']}", "candidate=c-1", "reference=e-1"):
        bare = await api.get(f"/v1/reservations?{sought}", key=mine)
        there = await api.get(f"/v1/reservations?{sought}&exam=exam-1", key=mine)
        here = await api.get(f"/v1/reservations?{sought}&exam=exam-2", key=mine)
        assert_refused(bare, 403, "forbidden")
        assert_refused(there, 403, "forbidden")
        assert (here.status, here.json["reservations"]) == (200, [])


async def test_ops_read_reservations_and_candidates_of_the_exams_of_their_key(
    running: Running,
) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))
    held = (await api.reserve("c-1")).json["id"]
    other = await make_key(running, Scope.OPS, exams=frozenset({"exam-2"}))

    for path in (f"/v1/reservations/{held}", "/v1/exams/exam-1/candidates/c-1"):
        assert (await api.get(path, key=api.ops_key)).status == 200
        assert_refused(await api.get(path, key=other), 403, "forbidden")


@pytest.mark.parametrize(
    "query",
    [
        "candidate=c-1&limit=101",
        "candidate=c-1&after=x",
        "name=c-1",
        "reference=%00",
        "reservation=1",
    ],
)
async def test_a_search_that_cannot_be_made_is_refused(api: ApiClient, query: str) -> None:
    reply = await api.get(f"/v1/reservations?{query}", key=api.ops_key)

    assert_refused(reply, 422, "invalid-request")
