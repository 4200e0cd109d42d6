"""The waiting list over HTTP: joining, looking and leaving, as a frontend and ops see it.

Over 400 lines because each call has its refusals beside it.
"""

import asyncio
import hashlib
import hmac
from typing import Any

import pytest

from quota_service.seats.keys import Shard
from quota_service.workers.dealing import DealingWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.listed_exam import (
    LIST,
    import_listed,
    in_redis,
    join,
    joined,
    leave,
    let_run_out,
    listed_definition,
    look,
    offer,
)
from tests.support.redis_clients import redis_of
from tests.support.refusals import assert_refused, fields

UNKNOWN = "a" * 24
CALL = "/v1/exams/{exam}/waiting-list"


@pytest.fixture
async def listed(api: ApiClient) -> ApiClient:
    """A service whose exam has a waiting list."""
    await import_listed(api)
    return api


async def test_a_candidate_waits_and_sees_its_place(listed: ApiClient, running: Running) -> None:
    quiet = {"from": "22:00", "to": "07:00"}
    first = await joined(listed)

    reply = await join(listed, "c-2", quiet_hours=quiet)
    entry = reply.json
    seen = await look(listed, entry)

    assert reply.headers["Location"] == f"{LIST}/{entry['id']}"
    assert (first["number"], entry["number"], entry["state"]) == (1, 2, "waiting")
    assert (entry["quiet_hours"], entry["until"]) == (quiet, None)
    assert seen == {
        **entry,
        "position": {"first": 1, "last": 10},
        "estimate": None,
        "offer": None,
        "ended_at": None,
        "draw": None,
    }
    waiting, wanted = await in_redis(running)
    assert {text.partition("|")[0] for text in waiting.values()} == {"1", "2"}
    assert set(wanted.values()) == {"2"}


async def test_a_repeat_is_answered_as_the_first_was_and_another_body_is_refused(
    listed: ApiClient, evidence: Evidence
) -> None:
    first = await join(listed, key="key-a")
    again = await join(listed, key="key-a")
    await offer(listed, evidence, first.json)
    after_offer = await join(listed, key="key-a")
    other = await join(listed, key="key-a", venues=["jinan"])

    assert (again.status, again.body) == (first.status, first.body)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert after_offer.body == first.body
    assert_refused(other, 422, "idempotency-key-reused", "Idempotency-Key")


@pytest.mark.parametrize(
    ("members", "slug", "field"),
    [
        ({"subjects": ["alchemy"]}, "unknown-subject", "subjects[0]"),
        ({"venues": ["jinan", "atlantis"]}, "unknown-venue", "venues[1]"),
        ({"subjects": ["qms", "ems"]}, "same-session-twice", "subjects"),
        ({"subjects": []}, "invalid-request", "subjects"),
        ({"venues": []}, "invalid-request", "venues"),
        ({"venues": ["jinan"] * 2}, "invalid-request", "venues[1]"),
        ({"venues": [f"v-{i}" for i in range(33)]}, "invalid-request", "venues"),
        ({"candidate": "11010519491231002X"}, "national-id-refused", "candidate"),
        ({"until": "2023-01-01T00:00:00Z"}, "until-out-of-range", "until"),
        ({"until": "2999-01-01T00:00:00Z"}, "until-out-of-range", "until"),
        ({"until": "tomorrow"}, "invalid-request", "until"),
        ({"quiet_hours": {"from": "22:00"}}, "invalid-request", "quiet_hours.to"),
        ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "invalid-request", "quiet_hours.to"),
        ({"position": 1}, "invalid-request", "position"),
    ],
)
async def test_what_nobody_can_wait_for_is_refused_by_its_field(
    listed: ApiClient,
    nothing_changes: NothingChanges,
    members: dict[str, Any],
    slug: str,
    field: str,
) -> None:
    async with nothing_changes():
        refused = await join(listed, **members)

    assert_refused(refused, 422, slug)
    assert fields(refused) == [field]


async def test_who_can_reserve_now_is_told_where(
    listed: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        refused = await join(listed, venues=["jinan", "beijing"])

    assert_refused(refused, 409, "seats-on-sale")
    assert refused.json["on_sale_at"] == "beijing"


async def test_who_stands_in_a_session_does_not_wait_for_it(
    listed: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await listed.reserve("c-1", ("ems",), ("tianjin",))).json

    async with nothing_changes():
        refused = await join(listed)

    assert_refused(refused, 409, "session-conflict")
    assert (refused.json["session"], refused.json["reservation"]) == ("day1-pm", held["id"])


async def test_a_candidate_has_one_live_entry(
    listed: ApiClient, evidence: Evidence, nothing_changes: NothingChanges
) -> None:
    entry = await joined(listed)

    async with nothing_changes():
        refused = await join(listed, subjects=["general"], venues=["jinan"])
    await offer(listed, evidence, entry)
    async with nothing_changes():
        refused_with_offer = await join(listed)

    for each in (refused, refused_with_offer):
        assert_refused(each, 409, "already-listed")
        assert each.json["entry"] == entry["id"]


async def test_an_exam_without_a_list_says_so(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        refused = [
            await join(api, subjects=["ems"], venues=["tianjin"]),
            await api.get(LIST, key=api.ops_key),
            await api.call("POST", f"{LIST}/pause", key=api.ops_key, json={"reason": "why"}),
            await api.call(
                "PUT", LIST, key=api.ops_key, json={"reason": "why", "length_max": None}
            ),
        ]
    sold_out = await api.reserve("c-1", ("ems",), ("tianjin",))

    for each in refused:
        assert_refused(each, 409, "waiting-list-off")
    assert "waiting_list" not in sold_out.json


@pytest.mark.parametrize(
    ("window", "slug"),
    [
        ({"opens_in_s": 3600, "closes_in_s": 7200}, "registration-not-open"),
        ({"opens_in_s": -7200, "closes_in_s": -3600}, "registration-closed"),
    ],
)
async def test_nobody_joins_outside_of_the_window(
    api: ApiClient, nothing_changes: NothingChanges, window: dict[str, float], slug: str
) -> None:
    definition = {**listed_definition(), "registration": exam_definition(**window)["registration"]}
    assert (await api.import_exam(definition)).status == 200

    async with nothing_changes():
        assert_refused(await join(api), 409, slug)


async def test_closed_venues_are_waited_for_only_beside_others(listed: ApiClient) -> None:
    body = {"reason": "burst pipe"}
    for venue in ("jinan", "beijing"):
        path = f"/v1/exams/exam-1/venues/{venue}/close"
        await listed.call("POST", path, key=listed.ops_key, json=body)

    refused = await join(listed, venues=["jinan"])

    assert_refused(refused, 409, "venue-closed")
    entry = await joined(listed, venues=["beijing", "tianjin"])
    assert entry["venues"] == ["beijing", "tianjin"]


async def test_a_reserve_that_is_sold_out_names_the_list(listed: ApiClient) -> None:
    sold_out = await listed.reserve("c-1", ("general",), ("jinan",))

    assert_refused(sold_out, 409, "sold-out")
    assert sold_out.json["waiting_list"] == LIST


async def test_who_leaves_is_off_the_list_and_may_join_at_the_back(
    listed: ApiClient, running: Running
) -> None:
    entry, other = await joined(listed, "c-1"), await joined(listed, "c-2")

    left, again = await leave(listed, entry), await leave(listed, entry)

    assert (left.json["state"], left.json["position"]) == ("left", None)
    assert left.json["ended_at"] is not None
    assert (again.status, again.body) == (200, left.body)
    waiting, wanted = await in_redis(running)
    assert [text.partition("|")[0] for text in waiting.values()] == [str(other["number"])]
    assert set(wanted.values()) == {"1"}
    assert (await joined(listed, "c-1"))["number"] == 3


async def test_an_offer_is_shown_and_given_back(listed: ApiClient, evidence: Evidence) -> None:
    entry, waits = await joined(listed), await joined(listed, "c-2")
    reservation = await offer(listed, evidence, entry)

    offered, waiting = await look(listed, entry), await look(listed, waits)
    left, again = await leave(listed, entry), await leave(listed, entry)

    held = (await listed.get(f"/v1/reservations/{reservation}")).json
    assert (offered["state"], offered["position"], offered["estimate"]) == ("offered", None, None)
    assert offered["offer"]["reservation"] == reservation
    assert offered["offer"]["venue"] == "beijing"
    assert waiting["estimate"] == {"offered_within_a_day": 1}
    assert (left.json["state"], left.json["offer"]) == ("declined", None)
    assert again.body == left.body
    assert held["state"] == "released"


async def test_how_an_offer_ended_is_shown_before_a_dealing_knows(
    listed: ApiClient, running: Running, evidence: Evidence
) -> None:
    missed, declined, served = [await joined(listed, f"c-{i}") for i in range(3)]
    await let_run_out(running, await offer(listed, evidence, missed))
    given_back = await offer(listed, evidence, declined)
    await listed.call("DELETE", f"/v1/reservations/{given_back}")
    paid = await offer(listed, evidence, served)
    await listed.pay((await listed.get(f"/v1/reservations/{paid}")).json)

    seen = [await look(listed, entry) for entry in (missed, declined, served)]
    (kept,) = await evidence.rows("SELECT DISTINCT state FROM waiting_list_entries")
    left = [await leave(listed, entry) for entry in (missed, declined, served)]

    assert [entry["state"] for entry in seen] == ["missed", "declined", "served"]
    assert [entry["offer"] for entry in seen] == [None, None, None]
    assert kept["state"] == "offered"
    assert [each.json["state"] for each in left[:2]] == ["missed", "declined"]
    assert_refused(left[2], 409, "already-confirmed")
    assert (await joined(listed, "c-0"))["number"] == 4


async def test_an_entry_whose_time_is_over_is_shown_so(
    listed: ApiClient, evidence: Evidence
) -> None:
    entry = await joined(listed)
    await evidence.rows("UPDATE waiting_list_entries SET until = now() - interval '1 minute'")

    seen = await look(listed, entry)

    assert (seen["state"], seen["position"]) == ("over", None)
    assert seen["ended_at"] == seen["until"]


@pytest.mark.parametrize(
    "entry", ["exam-1.w." + UNKNOWN, "exam-2.w." + UNKNOWN, "exam-1.0." + UNKNOWN, "anything"]
)
async def test_an_entry_that_does_not_exist_is_unknown(listed: ApiClient, entry: str) -> None:
    for method in ("GET", "DELETE"):
        assert_refused(await listed.call(method, f"{LIST}/{entry}"), 404, "unknown-entry")


async def test_ops_see_the_list_and_its_entries(listed: ApiClient, evidence: Evidence) -> None:
    entries = [await joined(listed, f"c-{i}") for i in range(3)]
    await leave(listed, entries[0])
    reservation = await offer(listed, evidence, entries[1])

    whole = await listed.get(LIST, key=listed.ops_key)
    first = await listed.get(f"{LIST}?limit=2", key=listed.ops_key)
    rest = await listed.get(f"{LIST}?limit=2&after={first.json['next']}", key=listed.ops_key)
    waiting = await listed.get(f"{LIST}?state=waiting", key=listed.ops_key)
    of_one = await listed.get(f"{LIST}?candidate=c-1", key=listed.ops_key)

    assert whole.json["states"] == {"waiting": 1, "offered": 1, "left": 1}
    assert whole.json["quotas"] == [
        {"venue": venue, "subject": subject, "waiting": 1}
        for venue in ("jinan", "tianjin")
        for subject in ("general", "qms")
    ]
    assert (whole.json["last_number"], whole.json["paused"]) == (3, False)
    assert [entry["number"] for entry in first.json["entries"]] == [1, 2]
    assert [entry["number"] for entry in rest.json["entries"]] == [3]
    assert (whole.json["next"], rest.json["next"]) == (None, None)
    assert [entry["candidate"] for entry in waiting.json["entries"]] == ["c-2"]
    assert [entry["reservation"] for entry in of_one.json["entries"]] == [reservation]
    assert_refused(
        await listed.get(f"{LIST}?state=gone", key=listed.ops_key), 422, "invalid-request"
    )
    assert_refused(await listed.get(LIST), 403, "forbidden")


async def test_ops_pause_suspend_and_cap_the_list_with_a_reason(
    listed: ApiClient, evidence: Evidence
) -> None:
    async def act(action: str, **members: Any) -> Any:
        method, path = ("PUT", LIST) if action == "cap" else ("POST", f"{LIST}/{action}")
        body = {"reason": f"why {action}", **members}
        reply = await listed.call(method, path, key=listed.ops_key, json=body)
        assert reply.status == 200, reply
        return reply.json

    assert (await act("pause"))["paused"] is True
    assert (await act("pause"))["paused"] is True
    assert (await act("resume"))["paused"] is False
    assert (await act("suspend"))["suspended"] is True
    suspended = await join(listed)
    assert (await act("reopen"))["suspended"] is False
    await joined(listed)
    assert (await act("cap", length_max=1))["length_max"] == 1
    full = await join(listed, "c-2", venues=["tianjin"])
    assert (await act("cap", length_max=None))["length_max"] == 10_000
    await joined(listed, "c-2")

    assert_refused(suspended, 409, "waiting-list-suspended")
    assert_refused(full, 409, "waiting-list-full")
    assert (full.json["full_venue"], full.json["waiting"]) == ("tianjin", 1)
    acts = await evidence.rows("SELECT action, subject, reason FROM ops_actions ORDER BY id")
    assert [act["action"] for act in acts] == [
        *("pause-list", "pause-list", "resume-list", "suspend-list", "reopen-list"),
        *("cap-list", "cap-list"),
    ]
    assert acts[0]["reason"] == "why pause"


async def test_a_candidate_is_shown_with_its_entries(listed: ApiClient, evidence: Evidence) -> None:
    gone = await joined(listed)
    await leave(listed, gone)
    entry = await joined(listed)
    reservation = await offer(listed, evidence, entry)

    view = (await listed.get("/v1/exams/exam-1/candidates/c-1")).json

    assert [each["id"] for each in view["waiting_list"]] == [entry["id"], gone["id"]]
    assert [each["state"] for each in view["waiting_list"]] == ["offered", "left"]
    assert view["waiting_list"][0]["offer"]["reservation"] == reservation


async def test_answers_are_as_the_document_says(
    listed: ApiClient, evidence: Evidence, contract: Contract
) -> None:
    quiet = {"from": "22:00", "to": "07:00"}
    made = await join(listed, quiet_hours=quiet)
    contract.check("POST " + CALL, made)
    contract.check("POST " + CALL, await join(listed, venues=["jinan"]))
    contract.check("POST " + CALL, await join(listed, "c-2", venues=["beijing"]))
    contract.check("POST " + CALL, await join(listed, "c-2", until="2999-01-01T00:00:00Z"))
    contract.check(f"GET {CALL}/{{entry}}", await listed.get(f"{LIST}/{made.json['id']}"))
    await offer(listed, evidence, made.json)
    contract.check(f"GET {CALL}/{{entry}}", await listed.get(f"{LIST}/{made.json['id']}"))
    contract.check(f"GET {CALL}", await listed.get(LIST, key=listed.ops_key))
    contract.check(
        "GET /v1/exams/{exam}/candidates/{candidate}",
        await listed.get("/v1/exams/exam-1/candidates/c-1"),
    )
    contract.check(f"DELETE {CALL}/{{entry}}", await leave(listed, made.json))
    cap = {"reason": "why", "length_max": 7}
    contract.check(f"PUT {CALL}", await listed.call("PUT", LIST, key=listed.ops_key, json=cap))
    sold_out = await listed.reserve("c-1", ("general",), ("jinan",))
    contract.check("POST /v1/exams/{exam}/reservations", sold_out)


async def test_numbers_of_a_storm_have_no_gaps_and_follow_the_answers(listed: ApiClient) -> None:
    async def one_after_the_other(task: int) -> list[int]:
        return [(await joined(listed, f"c-{task}-{i}"))["number"] for i in range(20)]

    told = await asyncio.gather(*map(one_after_the_other, range(10)))

    assert all(numbers == sorted(numbers) for numbers in told)
    assert sorted(number for numbers in told for number in numbers) == list(range(1, 201))


async def test_the_seed_of_a_draw_is_committed_to_and_shown_when_it_was_drawn(
    running: Running, api: ApiClient
) -> None:
    await import_listed(api, order="draw")
    entry = await joined(api)
    before = (await look(api, entry))["draw"]
    client, shard = redis_of(running.service), Shard("exam-1", 0)
    await client.hincrby(shard.key("returned"), "jinan/general", 1)

    await DealingWorker(running.service.stores.dealing, running.service.settings).run_once()
    after = (await look(api, entry))["draw"]

    assert (before["window"], before["seed"], before["rank"]) == (1, None, None)
    seed = bytes.fromhex(after["seed"])
    assert hashlib.sha256(seed).hexdigest() == before["seed_commitment"]
    rank = hmac.digest(seed, f"exam-1{entry['candidate']}".encode(), "sha256").hex()
    assert after == {**before, "seed": seed.hex(), "rank": rank}
