"""The roster of a venue and session as a file: who sits there, and nobody else."""

import csv
import io

import pytest

from tests.api.test_bookings_csv import TITLES, booked
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.refusals import assert_refused

HEADER = ["venue", "session", "subject", "candidate", "reservation"]


async def roster(api: ApiClient, query: str = "", exam: str = "exam-1") -> list[list[str]]:
    """Return the lines of the file under its header."""
    reply = await api.get(f"/v1/exams/{exam}/roster.csv{query}", key=api.ops_key)
    assert reply.status == 200, reply
    header, *rows = csv.reader(io.StringIO(reply.body.decode(), newline=""), strict=True)
    assert header == HEADER
    return rows


async def test_a_roster_has_each_booked_seat_of_its_venue_and_session_by_candidate(
    api: ApiClient,
) -> None:
    both = (await booked(api, "c-2", ("general", "qms")))["id"]
    one = (await booked(api, "c-1", event="e-1"))["id"]
    away = (await booked(api, "c-3", event="e-2", venue="jinan"))["id"]
    await api.reserve("c-4", venues=("tianjin",))

    here = await roster(api, "?venue=tianjin&session=day1-am")
    venue = await roster(api, "?venue=tianjin")
    session = await roster(api, "?session=day1-am")
    everywhere = await roster(api)

    general = ["day1-am", "general"]
    first, second = ["tianjin", *general, "c-1", one], ["tianjin", *general, "c-2", both]
    third = ["jinan", *general, "c-3", away]
    assert here == [first, second]
    assert session == [first, second, third]
    assert [line[2:] for line in venue] == [
        ["general", "c-1", one],
        ["general", "c-2", both],
        ["qms", "c-2", both],
    ]
    assert everywhere == [*venue, third]


async def test_a_roster_follows_changes_of_venue_and_refunds(api: ApiClient) -> None:
    moved = (await booked(api, "c-1"))["id"]
    refunded = (await booked(api, "c-2", event="e-2"))["id"]
    await api.call("PUT", f"/v1/reservations/{moved}/venue", json={"venue": "jinan"})
    await api.call("POST", f"/v1/reservations/{refunded}/refund")

    assert await roster(api, "?venue=tianjin") == []
    assert [line[4] for line in await roster(api, "?venue=jinan")] == [moved]


async def test_a_roster_with_holds_has_each_unpaid_seat_after_the_bookings_with_its_state(
    api: ApiClient,
) -> None:
    paid = (await booked(api, "c-2"))["id"]
    held = (await api.reserve("c-1", ("general", "qms"), venues=("tianjin",))).json["id"]
    await api.reserve("c-3", venues=("jinan",))
    released = (await api.reserve("c-4", venues=("tianjin",))).json["id"]
    await api.call("DELETE", f"/v1/reservations/{released}")
    path = "/v1/exams/exam-1/roster.csv?venue=tianjin"

    here = await api.get(f"{path}&holds=true", key=api.ops_key)
    morning = await api.get(f"{path}&holds=true&session=day1-am&for=excel", key=api.ops_key)
    odd = await api.get(f"{path}&holds=yes", key=api.ops_key)

    lines = list(csv.DictReader(io.StringIO(here.body.decode(), newline="")))
    assert [(line["reservation"], line["subject"], line["state"]) for line in lines] == [
        (paid, "general", "confirmed"),
        (held, "general", "held"),
        (held, "qms", "held"),
    ]
    people = list(csv.DictReader(io.StringIO(morning.body.decode("utf-8-sig"), newline="")))
    assert [(line["candidate"], line["state"]) for line in people] == [
        ("c-2", "confirmed"),
        ("c-1", "held"),
    ]
    assert_refused(odd, 422, "invalid-request")


async def test_a_roster_longer_than_a_page_has_everybody_once(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.api.exports._EXPORT_PAGE", 2)
    for n in range(5):
        await booked(api, f"c-{n}", ("general", "qms"), event=f"e-{n}")

    seats = [(line[3], line[2]) for line in await roster(api)]

    assert seats == [(f"c-{n}", subject) for n in range(5) for subject in ("general", "qms")]


async def test_a_roster_is_safe_in_a_spreadsheet_and_has_titles_there(api: ApiClient) -> None:
    held = await booked(api, "=1+1")

    plain = await roster(api)
    reply = await api.get("/v1/exams/exam-1/roster.csv?for=excel", key=api.ops_key)

    assert plain[0][3] == "'=1+1"
    (row,) = csv.DictReader(io.StringIO(reply.body.decode("utf-8-sig"), newline=""))
    for column, part in (("venue_title", "tianjin"), ("subject_title", "general")):
        assert row[column] == " / ".join(TITLES[part].values())
    assert row["session_title"]
    assert (row["candidate"], row["reservation"]) == ("'=1+1", held["id"])


async def test_a_roster_of_no_venue_or_session_of_the_exam_is_refused(api: ApiClient) -> None:
    await api.import_exam(exam_definition("exam-2"))
    path = "/v1/exams/exam-2/roster.csv"

    venue = await api.get(f"{path}?venue=nowhere", key=api.ops_key)
    session = await api.get(f"{path}?session=never", key=api.ops_key)
    twice = await api.get(f"{path}?venue=jinan&venue=tianjin", key=api.ops_key)
    named = await api.get(f"{path}?venue=jinan&session=day1-am", key=api.ops_key)

    assert_refused(venue, 422, "unknown-venue")
    assert_refused(session, 422, "unknown-session")
    assert_refused(twice, 422, "invalid-request")
    disposition = 'attachment; filename="roster-exam-2-jinan-day1-am.csv"'
    assert named.headers["Content-Disposition"] == disposition
