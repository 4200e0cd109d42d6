"""Ops settle money that has to go back: each payment once, whoever else does or looks."""

import asyncio
from typing import Any

import pytest

from quota_service.ledger.api_keys import Scope, split_key
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.refunds_due import NO_SUCH_RESERVATION, listed, look, path_of, settle
from tests.support.refusals import assert_refused


async def test_what_is_settled_while_one_pages_makes_no_other_entry_be_missed(
    api: ApiClient,
) -> None:
    for i in range(6):
        await api.pay("nobody", event=f"e-{i}")

    seen, after = [], "0"
    for _ in range(3):
        page = await look(api, f"?limit=2&after={after}")
        for due in page["refunds_due"]:
            seen.append(due["event"])
            await settle(api, due["id"])
        after = page["next"]

    assert seen == [f"e-{i}" for i in range(6)]
    assert await listed(api) == []


async def test_settling_again_keeps_who_was_first_and_when(
    running: Running, evidence: Evidence, nothing_changes: NothingChanges
) -> None:
    api = running.client
    other_key = await running.service.key_ledger.create("other", frozenset({Scope.OPS}))
    await running.service.keys.refresh()
    await api.pay("nobody", event="e-1")
    (due,) = await listed(api)

    first = await settle(api, due["id"])
    async with nothing_changes():
        again = await settle(api, due["id"], key=other_key)

    assert first.status == again.status == 200
    assert first.json["settled_at"] >= due["due_at"]
    assert first.json == {**due, "settled_at": first.json["settled_at"]}
    assert again.json == first.json
    rows = await evidence.rows("SELECT settled_by FROM refunds_due")
    first_id, _ = split_key(api.ops_key) or ("", "")
    assert [row["settled_by"] for row in rows] == [first_id]


async def test_of_many_who_settle_at_once_one_is_the_first(running: Running) -> None:
    api = running.client
    await api.pay("nobody")
    (due,) = await listed(api)

    replies = await asyncio.gather(*(settle(api, due["id"]) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1


async def test_an_unknown_refund_and_one_of_another_exam_cannot_be_settled(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    await api.import_exam(exam_definition("exam-2"))
    await api.pay(NO_SUCH_RESERVATION)
    (due,) = await listed(api)
    most, odd = str(2**63 - 1), [str(2**63), "9" * 40, "-1", "abc", "1.0", "%EF%BC%91", "1%20"]

    async with nothing_changes():
        assert_refused(await settle(api, due["id"], exam="exam-2"), 404, "unknown-refund")
        for refund_id in ("0", str(int(due["id"]) + 1), most, *odd):
            with subtests.test(refund=refund_id):
                assert_refused(await settle(api, refund_id), 404, "unknown-refund")
                of_exam = await settle(api, refund_id, exam="exam-1")
                assert_refused(of_exam, 404, "unknown-refund")

    assert [each["id"] for each in await listed(api)] == [due["id"]]


async def test_a_refund_id_of_thousands_of_digits_is_unknown_and_no_fault(api: ApiClient) -> None:
    assert_refused(await settle(api, "9" * 5000), 404, "unknown-refund")


async def reopen(api: ApiClient, refund: object, *, exam: str | None = None, **body: Any) -> Reply:
    path = f"{path_of(exam)}/{refund}/reopen"
    return await api.call("POST", path, key=api.ops_key, json={"reason": "bounced", **body})


@pytest.mark.parametrize("exam", [None, "exam-1"])
async def test_a_payment_that_did_not_arrive_is_listed_again_with_its_settlement(
    api: ApiClient, exam: str | None
) -> None:
    await api.pay(NO_SUCH_RESERVATION)
    (due,) = await listed(api)
    settled = (await settle(api, due["id"])).json
    found = await look(api, f"?reservation={NO_SUCH_RESERVATION}", exam=exam)

    opened = await reopen(api, due["id"], exam=exam, settled_at=settled["settled_at"])
    again = await reopen(api, due["id"], exam=exam, settled_at=settled["settled_at"])

    assert found["refunds_due"] == [settled]
    assert opened.json == {**due, "settled_before": [settled["settled_at"]]}
    assert again.json == opened.json
    assert await listed(api) == [opened.json]
    assert await look(api, "?reservation=nobody", exam=exam) == {
        "exam": exam,
        "refunds_due": [],
        "next": None,
    }


async def test_only_the_settlement_that_is_named_is_opened_again(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await api.pay("nobody")
    (due,) = await listed(api)
    settled_at = (await settle(api, due["id"])).json["settled_at"]

    async with nothing_changes():
        other = await reopen(api, due["id"], settled_at="2023-03-15T01:00:00.000Z")
        bare = await reopen(api, due["id"])
        blank = await reopen(api, due["id"], settled_at=settled_at, reason=" ")
        unknown = await reopen(api, "999", settled_at=settled_at)
        of_exam = await reopen(api, due["id"], exam="exam-1", settled_at=settled_at)

    for reply in (other, bare, blank):
        assert_refused(reply, 422, "invalid-request")
    assert_refused(unknown, 404, "unknown-refund")
    assert_refused(of_exam, 404, "unknown-refund")
    assert [wrong["field"] for wrong in other.json["errors"]] == ["settled_at"]
