"""Ops close a venue over HTTP; a frontend is told so."""

from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.refusals import assert_refused

PATH = "/v1/exams/exam-1/venues/jinan"
ALL_OF_JINAN = [{"venue": "jinan", "subject": None}]


async def test_a_venue_is_closed_and_opened_by_ops_with_a_reason(
    api: ApiClient, evidence: Evidence
) -> None:
    before = await api.get("/v1/exams/exam-1")
    closed = await api.call("POST", f"{PATH}/close", key=api.ops_key, json={"reason": "burst pipe"})
    told = await api.get("/v1/exams/exam-1")
    refused = await api.reserve("c-1")
    elsewhere = await api.reserve("c-1", venues=("jinan", "tianjin"))
    body = {"reason": "one hall is dry", "subjects": ["qms"]}
    opened = await api.call("POST", f"{PATH}/open", key=api.ops_key, json=body)
    rest = await api.get("/v1/exams/exam-1")

    assert closed.json == {
        "exam": "exam-1",
        "venue": "jinan",
        "closed_subjects": ["general", "qms", "ems", "service"],
    }
    assert (before.json.get("closed"), told.json["closed"]) == (None, ALL_OF_JINAN)
    assert_refused(refused, 409, "venue-closed")
    assert refused.json["closed_venues"] == ["jinan"]
    assert elsewhere.json["venue"] == "tianjin"
    assert opened.json["closed_subjects"] == ["general", "ems", "service"]
    assert [scope["subject"] for scope in rest.json["closed"]] == ["ems", "general", "service"]
    rows = await evidence.rows("SELECT key_id, request_id FROM ops_actions ORDER BY id")
    key_id = api.ops_key.split("_")[1]
    ids = [reply.headers["X-Request-ID"] for reply in (closed, opened)]
    assert [tuple(row.values()) for row in rows] == [(key_id, each) for each in ids]


async def test_a_closing_without_a_reason_or_by_a_frontend_is_refused(api: ApiClient) -> None:
    bare = await api.call("POST", f"{PATH}/close", key=api.ops_key, json={})
    blank = await api.call("POST", f"{PATH}/close", key=api.ops_key, json={"reason": " "})
    frontend = await api.call("POST", f"{PATH}/close", json={"reason": "burst pipe"})

    assert_refused(bare, 422, "invalid-request")
    assert_refused(blank, 422, "invalid-request")
    assert_refused(frontend, 403, "forbidden")
    assert (await api.reserve("c-1")).status == 201


async def test_what_is_booked_at_a_closed_venue_is_moved_page_by_page(api: ApiClient) -> None:
    ids = []
    for n in range(2):
        held = (await api.reserve(f"c-{n}")).json
        await api.pay(held, event=f"e-{n}")
        ids.append(held["id"])
    closed = await api.call("POST", f"{PATH}/close", key=api.ops_key, json={"reason": "burst pipe"})
    body = {"reason": "burst pipe", "venues": ["beijing"], "limit": 1}

    first = await api.call("POST", f"{PATH}/move-out", key=api.ops_key, json=body)
    after = {**body, "after": first.json["next"]}
    rest = await api.call("POST", f"{PATH}/move-out", key=api.ops_key, json=after)
    unknown = await api.call(
        "POST", f"{PATH}/move-out", key=api.ops_key, json={**body, "venues": ["nowhere"]}
    )

    assert closed.status == 200
    (moved,), (stayed,) = first.json["moved"], rest.json["stayed"]
    assert [moved["reservation"], stayed["reservation"]] == sorted(ids)
    assert (moved["venue"], moved["rule"], stayed["problem"]) == ("beijing", "list", "sold-out")
    assert_refused(unknown, 422, "unknown-venue")
    shown = await api.get(f"/v1/reservations/{moved['reservation']}", key=api.ops_key)
    assert (shown.json["venue"], shown.json["state"]) == ("beijing", "confirmed")
