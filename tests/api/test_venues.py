"""Ops close a venue over HTTP; a frontend is told so."""

from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.refusals import assert_refused

PATH = "/v1/exams/exam-1/venues/jinan"


async def test_a_venue_is_closed_and_opened_by_ops_with_a_reason(
    api: ApiClient, evidence: Evidence
) -> None:
    closed = await api.call("POST", f"{PATH}/close", key=api.ops_key, json={"reason": "burst pipe"})
    refused = await api.reserve("c-1")
    elsewhere = await api.reserve("c-1", venues=("jinan", "tianjin"))
    body = {"reason": "one hall is dry", "subjects": ["qms"]}
    opened = await api.call("POST", f"{PATH}/open", key=api.ops_key, json=body)

    assert closed.json == {
        "exam": "exam-1",
        "venue": "jinan",
        "closed_subjects": ["general", "qms", "ems", "service"],
    }
    assert_refused(refused, 409, "venue-closed")
    assert refused.json["closed_venues"] == ["jinan"]
    assert elsewhere.json["venue"] == "tianjin"
    assert opened.json["closed_subjects"] == ["general", "ems", "service"]
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
