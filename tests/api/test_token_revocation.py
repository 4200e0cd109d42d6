"""Revoked candidate tokens: refused by every process within a second, and not one too many."""

from typing import Any

import pytest

from quota_service.api import revoked_tokens
from quota_service.domain.errors import LedgerUnavailable
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.revoked_tokens import FROM_THE_START, Revocation, RevokedTokenLedger
from quota_service.observability.caller import Caller
from quota_service.workers.retention import RetentionWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.refusals import assert_refused
from tests.support.rooms import process_beside

REVOKE = "/v1/candidate-tokens/revoke"
MINE = "/v1/exams/exam-1/candidates/candidate-1"
THEIRS = "/v1/exams/exam-1/candidates/candidate-2"


async def revoke(api: ApiClient, key: str = "", **members: Any) -> Reply:
    body = {"exam": "exam-1", "candidate": "candidate-1", **members}
    return await api.call("POST", REVOKE, key=key, json=body)


async def statuses(api: ApiClient, *tokens: str, path: str = MINE) -> list[int]:
    return [(await api.get(path, key=token)).status for token in tokens]


async def test_all_tokens_of_a_candidate_end_and_new_ones_do_not(api: ApiClient) -> None:
    first, second, of_another = await api.token(), await api.token(), await api.token("candidate-2")
    assert await statuses(api, first, second) == [200, 200]

    revoked = await revoke(api)

    assert (revoked.status, revoked.json["id"]) == (200, None)
    assert await statuses(api, first, second, await api.token()) == [401, 401, 200]
    assert await statuses(api, of_another, path=THEIRS) == [200]


async def test_one_token_ends_by_its_id(api: ApiClient) -> None:
    wanted = {"exam": "exam-1", "candidate": "candidate-1", "ttl_s": 60}
    made = [(await api.call("POST", "/v1/candidate-tokens", json=wanted)).json for _ in "12"]

    revoked = await revoke(api, id=made[0]["id"])

    assert (revoked.status, revoked.json["id"]) == (200, made[0]["id"])
    assert await statuses(api, *(each["token"] for each in made)) == [401, 200]


async def test_other_processes_refuse_them_from_their_next_look_and_new_ones_from_the_first(
    running: Running,
) -> None:
    api = running.client
    async with process_beside(running.service.settings) as other:
        first, second = await api.token(), await api.token()
        context = other.context

        def taken(token: str) -> bool:
            return not context.keys.revoked.has(context.tokens.read(token))

        assert (taken(first), taken(second)) == (True, True)
        await revoke(api, id=context.tokens.read(first).id)
        await context.keys.refresh()
        assert (taken(first), taken(second)) == (False, True)
        await revoke(api)
        await context.keys.refresh()
        assert (taken(first), taken(second), taken(await api.token())) == (False, False, True)
    async with process_beside(running.service.settings) as later:
        assert later.context.keys.revoked.has(context.tokens.read(second))


async def test_a_revocation_that_commits_behind_a_later_one_is_not_missed(running: Running) -> None:
    stores = running.service.stores.maintenance
    ledger = stores.revoked_tokens

    def of(candidate: str) -> Revocation:
        return Revocation("exam-1", candidate, "", 1, 4_000_000_000_000)

    _, place = await ledger.since(FROM_THE_START)
    async with stores.ledger.transaction() as slow:
        await ledger.insert(slow, of("slow"), Caller("k", "r"))
        async with stores.ledger.transaction() as quick:
            await ledger.insert(quick, of("quick"), Caller("k", "r"))
        seen, place = await ledger.since(place)
        assert [each.candidate for each in seen] == ["quick"]
    seen, place = await ledger.since(place)
    assert "slow" in {each.candidate for each in seen}
    seen, _ = await ledger.since(place)
    assert seen == []


async def test_what_was_revoked_stays_so_while_postgres_is_away_and_all_is_read_again_afterwards(
    running: Running, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, ledger = running.client, running.service.stores.maintenance.revoked_tokens
    gone, there = await api.token(), await api.token("candidate-2")
    await revoke(api)
    revoked = revoked_tokens.RevokedTokens(ledger)
    await revoked.refresh()

    with monkeypatch.context() as patch:
        patch.setattr(ledger.__class__, "since", _away)
        for refresh in (revoked.refresh, running.service.keys.refresh):
            with pytest.raises(LedgerUnavailable):
                await refresh()
        assert await statuses(api, gone) == [401]
        assert await statuses(api, there, path=THEIRS) == [200]
    # Another server of Postgres may count its transactions from a smaller number.
    await evidence.rows(
        "UPDATE revoked_candidate_tokens SET candidate = 'candidate-2', written_in = '1'"
    )
    await revoked.refresh()

    assert revoked.has(running.service.context.tokens.read(there))


async def _away(_self: RevokedTokenLedger, _place: str) -> Any:
    raise LedgerUnavailable("away")


async def test_frontends_and_ops_revoke_for_their_exams_and_candidates_do_not(
    running: Running, nothing_changes: NothingChanges
) -> None:
    api, ledger = running.client, running.service.key_ledger
    elsewhere = await ledger.create("bound", frozenset({Scope.FRONTEND}), frozenset({"exam-2"}))
    refunds = await ledger.create("refunds", frozenset({Scope.REFUNDS}))
    await running.service.keys.refresh()
    token = await api.token()

    async with nothing_changes():
        for key in (elsewhere, refunds, token):
            assert_refused(await revoke(api, key), 403, "forbidden")
        assert_refused(await revoke(api, exam="exam-9"), 404, "unknown-exam")
        assert_refused(await revoke(api, id="no id"), 422, "invalid-request", "id")
        assert_refused(await revoke(api, candidate="?"), 422, "invalid-request", "candidate")
    assert await statuses(api, token) == [200]
    assert (await revoke(api, api.ops_key)).status == 200
    assert await statuses(api, token) == [401]


async def test_a_revocation_with_a_reason_is_among_what_ops_did(api: ApiClient) -> None:
    await revoke(api)
    await revoke(api, api.ops_key, reason="phone stolen")

    query = "/v1/ops-actions?exam=exam-1&candidate=candidate-1"
    (noted,) = (await api.get(query, key=api.ops_key)).json["ops_actions"]

    assert (noted["action"], noted["reason"]) == ("revoke-tokens", "phone stolen")
    assert (noted["subject"], noted["outcome"]) == ("candidate-1", "done")


async def test_no_more_are_revoked_than_a_process_may_remember(
    api: ApiClient, nothing_changes: NothingChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoked_tokens, "REVOKED_MAX", 1)
    await revoke(api)

    async with nothing_changes():
        assert_refused(await revoke(api, candidate="candidate-2"), 503, "overloaded")


async def test_revocations_are_forgotten_when_their_tokens_have_ended(
    running: Running, evidence: Evidence
) -> None:
    api, service = running.client, running.service
    await revoke(api)
    await revoke(api, candidate="candidate-2")
    await evidence.rows(
        "UPDATE revoked_candidate_tokens SET until = now() WHERE candidate = 'candidate-1'"
    )

    done = await RetentionWorker(service.stores.maintenance, service.settings).run_once()

    assert done["revocations"] == 1
    assert len(await evidence.rows("SELECT 1 FROM revoked_candidate_tokens")) == 1
    token = service.context.tokens.read(await api.token("candidate-2"))
    revoked = revoked_tokens.RevokedTokens(service.stores.maintenance.revoked_tokens)
    revoked.add(Revocation("exam-1", "candidate-2", token.id, 0, 1))
    assert revoked.has(token)
    await revoked.refresh()
    assert not revoked.has(token)
