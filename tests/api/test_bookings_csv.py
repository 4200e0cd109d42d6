"""All bookings of an exam as a file: what stands in it, and that a spreadsheet runs none of it."""

import csv
import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from quota_service.settings import Settings
from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.refusals import assert_refused

_DEFINITION = exam_definition()
TITLES = {part["id"]: part["title"] for part in (*_DEFINITION["venues"], *_DEFINITION["subjects"])}
"""The titles of venues and subjects of the test exam."""

HEADER = [
    "reservation",
    "candidate",
    "venue",
    "subjects",
    "state",
    "amount",
    "currency",
    "reserved_at",
    "confirmed_at",
    "event",
    "provider_reference",
]


async def export(api: ApiClient, exam: str = "exam-1") -> Reply:
    reply = await api.get(f"/v1/exams/{exam}/bookings.csv", key=api.ops_key)
    assert reply.status == 200, reply
    return reply


async def bookings(api: ApiClient, exam: str = "exam-1") -> list[dict[str, str]]:
    """Return the rows of the file by column."""
    text = (await export(api, exam)).body.decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == HEADER
    return [dict(zip(header, row, strict=True)) for row in rows]


async def booked(
    api: ApiClient,
    candidate: str,
    subjects: tuple[str, ...] = ("general",),
    *,
    venue: str = "tianjin",
    exam: str = "exam-1",
    **payment: Any,
) -> Mapping[str, Any]:
    """Reserve and pay; return the reservation as it was held."""
    held = (await api.reserve(candidate, subjects, (venue,), exam=exam)).json
    assert (await api.pay(held, **payment)).json["outcome"] == "confirmed"
    return dict(held)


async def set_reference(settings: Settings, event: str, reference: str) -> None:
    """Let a payment have a reference that no callback could bring today."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        done = await connection.execute(
            "UPDATE payment_events SET provider_reference = $2 WHERE event = $1", event, reference
        )
        assert done == "UPDATE 1"
    finally:
        await connection.close()


async def test_an_exam_without_bookings_has_a_file_of_one_line(api: ApiClient) -> None:
    held = await api.reserve()
    await api.pay("nobody")
    await api.pay(held.json, amount=1)

    reply = await export(api)

    assert reply.body == ",".join(HEADER).encode() + b"\r\n"


async def test_the_answer_says_what_it_is_and_which_name_to_save_it_under(api: ApiClient) -> None:
    reply = await export(api)

    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="bookings-exam-1.csv"'
    assert reply.headers["X-Request-ID"]


async def test_every_booking_is_a_row_once_with_its_payment(
    api: ApiClient, evidence: Evidence
) -> None:
    first = await booked(api, "candidate-1", ("qms", "general"), event="e-1")
    second = await booked(api, "candidate-2", event="e-2", provider_reference="bank 2")
    await api.pay(first, event="e-3")
    await api.reserve("candidate-3", venues=("tianjin",))
    await evidence.rows("UPDATE bookings SET confirmed_at = '2026-01-02T03:04:05.678Z'")

    rows = await bookings(api)

    assert [row["reservation"] for row in rows] == sorted([first["id"], second["id"]])
    by_candidate = {row["candidate"]: row for row in rows}
    assert by_candidate["candidate-1"] == {
        "reservation": first["id"],
        "candidate": "candidate-1",
        "venue": "tianjin",
        "subjects": "general qms",
        "state": "confirmed",
        "amount": "16000",
        "currency": "CNY",
        "reserved_at": first["created_at"],
        "confirmed_at": "2026-01-02T03:04:05.678Z",
        "event": "e-1",
        "provider_reference": "provider-e-1",
    }
    assert by_candidate["candidate-2"]["event"] == "e-2"
    assert by_candidate["candidate-2"]["provider_reference"] == "bank 2"
    assert by_candidate["candidate-2"]["subjects"] == "general"


async def test_the_bookings_of_another_exam_are_in_its_own_file(api: ApiClient) -> None:
    await api.import_exam(exam_definition("exam-2"))
    here = await booked(api, "candidate-1")
    there = await booked(api, "candidate-1", exam="exam-2")

    files = [await bookings(api, exam) for exam in ("exam-1", "exam-2")]

    assert [[row["reservation"] for row in rows] for rows in files] == [[here["id"]], [there["id"]]]


async def test_a_refunded_booking_stays_with_its_state_beside_the_new_one(api: ApiClient) -> None:
    old = await booked(api, "candidate-1", ("general", "service"))
    refund = await api.call("POST", f"/v1/reservations/{old['id']}/refund")
    new = await booked(api, "candidate-1", ("general",), venue="jinan")

    rows = {row["reservation"]: row for row in await bookings(api)}

    assert refund.status == 200
    assert {key: row["state"] for key, row in rows.items()} == {
        old["id"]: "refunded",
        new["id"]: "confirmed",
    }
    assert rows[old["id"]]["subjects"] == "general service"
    assert rows[old["id"]]["venue"] == "tianjin"


async def test_a_booking_that_moved_stands_at_its_venue_now(api: ApiClient) -> None:
    held = await booked(api, "candidate-1", ("general", "qms"))
    path = f"/v1/reservations/{held['id']}/venue"
    moved = await api.call("PUT", path, json={"venue": "jinan"})

    rows = await bookings(api)

    assert (moved.status, moved.json["venue"]) == (200, "jinan")
    assert [(row["reservation"], row["venue"], row["subjects"]) for row in rows] == [
        (held["id"], "jinan", "general qms")
    ]


@pytest.mark.parametrize("reference", ['say "hello"', "a,b", ",", '"', '","', "银行 7, é", "a;b|c"])
async def test_a_reference_with_commas_and_quotes_stays_in_its_cell(
    api: ApiClient, reference: str
) -> None:
    await booked(api, "candidate-1", provider_reference=reference)
    await booked(api, "candidate-2", event="e-2")

    rows = await bookings(api)

    assert sorted(row["provider_reference"] for row in rows) == sorted([reference, "provider-e-2"])


@pytest.mark.parametrize("reference", ["a\nb", "a\r\nb", "a\rb", 'a\n"b",c\n'])
async def test_a_reference_with_line_breaks_stays_in_its_cell(
    api: ApiClient, settings: Settings, reference: str
) -> None:
    await booked(api, "candidate-1", event="e-1")
    await booked(api, "candidate-2", event="e-2")
    await set_reference(settings, "e-1", reference)

    rows = await bookings(api)

    assert {row["event"]: row["provider_reference"] for row in rows} == {
        "e-1": reference,
        "e-2": "provider-e-2",
    }


@pytest.mark.parametrize("candidate", ["=1+1", "+1", "-1", "@sum", "=", "--=+@"])
async def test_a_candidate_that_reads_like_a_formula_comes_with_an_apostrophe(
    api: ApiClient, candidate: str
) -> None:
    await booked(api, candidate)

    (row,) = await bookings(api)

    assert row["candidate"] == f"'{candidate}"


@pytest.mark.parametrize(
    "reference",
    [
        '=HYPERLINK("https://example.org","see")',
        "+1",
        "-1",
        "@sum(a1)",
        "\N{FULLWIDTH EQUALS SIGN}1+1",
        "\N{FULLWIDTH PLUS SIGN}1",
        "\N{FULLWIDTH HYPHEN-MINUS}1",
        "\N{FULLWIDTH COMMERCIAL AT}sum",
    ],
    ids=ascii,
)
async def test_a_reference_that_reads_like_a_formula_comes_with_an_apostrophe(
    api: ApiClient, reference: str
) -> None:
    await booked(api, "candidate-1", provider_reference=reference, event="=e")

    (row,) = await bookings(api)

    assert row["provider_reference"] == f"'{reference}"
    assert row["event"] == "'=e"


@pytest.mark.parametrize("reference", ["\t=1", "\r=1", "\n=1"], ids=ascii)
async def test_a_reference_that_starts_with_a_control_character_comes_with_an_apostrophe(
    api: ApiClient, settings: Settings, reference: str
) -> None:
    await booked(api, "candidate-1", event="e-1")
    await set_reference(settings, "e-1", reference)

    (row,) = await bookings(api)

    assert row["provider_reference"] == f"'{reference}"


async def excel_rows(api: ApiClient, exam: str = "exam-1") -> list[dict[str, str]]:
    """Return the rows of the file for spreadsheets by column."""
    reply = await api.get(f"/v1/exams/{exam}/bookings.csv?for=excel", key=api.ops_key)
    assert reply.status == 200, reply
    assert reply.body.startswith(b"\xef\xbb\xbf")
    text = reply.body.decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


async def test_the_file_for_spreadsheets_has_a_mark_titles_and_times_of_the_exam(
    api: ApiClient, evidence: Evidence
) -> None:
    held = await booked(api, "candidate-1", ("qms", "general"), event="e-1")
    await evidence.rows("UPDATE bookings SET confirmed_at = '2026-01-02T23:04:05.678Z'")

    plain = await bookings(api)
    (row,) = await excel_rows(api)

    utc = dt.datetime.fromisoformat(held["created_at"])
    assert row == {
        "reservation": held["id"],
        "candidate": "candidate-1",
        "venue": "tianjin",
        "venue_title": f"{TITLES['tianjin']['zh']} / {TITLES['tianjin']['en']}",
        "subjects": "general qms",
        "subject_titles": "; ".join(
            f"{TITLES[subject]['zh']} / {TITLES[subject]['en']}" for subject in ("general", "qms")
        ),
        "state": "confirmed",
        "amount": "16000",
        "currency": "CNY",
        "reserved_at (Asia/Shanghai)": f"{utc + dt.timedelta(hours=8):%Y-%m-%d %H:%M:%S}",
        "confirmed_at (Asia/Shanghai)": "2026-01-03 07:04:05",
        "event": "e-1",
        "provider_reference": "provider-e-1",
    }
    assert [each["candidate"] for each in plain] == ["candidate-1"]


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("00012345", "4200001234202303141234567890"),
        ("13800138000138000138", "1E5"),
        ("2023-03-14", "\N{SMALL EQUALS SIGN}1+1"),
        ("+86139", "\N{NO-BREAK SPACE}=1+1"),
        ("@x", "  =1+1"),
        ("=1+1", "\N{ZERO WIDTH SPACE}=1+1"),
        ("-1", "\N{MINUS SIGN} 2"),
    ],
    ids=ascii,
)
async def test_ids_and_references_stay_text_in_a_spreadsheet(
    api: ApiClient, candidate: str, reference: str
) -> None:
    await booked(api, candidate, event="007", provider_reference=reference)

    (row,) = await excel_rows(api)

    assert row["candidate"] == f"'{candidate}"
    assert row["provider_reference"] == f"'{reference}"
    assert row["event"] == "'007"


async def test_every_page_of_the_file_for_spreadsheets_is_protected(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.api.exports._EXPORT_PAGE", 2)
    made = sorted([(await booked(api, f"0{i}"))["id"] for i in range(5)])

    rows = await excel_rows(api)

    assert [row["reservation"] for row in rows] == made
    assert sorted(row["candidate"] for row in rows) == [f"'0{i}" for i in range(5)]


@pytest.mark.parametrize("asked", ["for=Excel", "for=", "for=excel&for=excel", "for=csv"])
async def test_a_form_that_is_not_known_is_refused_by_name(api: ApiClient, asked: str) -> None:
    reply = await api.get(f"/v1/exams/exam-1/bookings.csv?{asked}", key=api.ops_key)

    assert_refused(reply, 422, "invalid-request")
    assert [error["field"] for error in reply.json["errors"]] == ["for"]


async def test_more_bookings_than_a_page_holds_are_there_once_each(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.api.exports._EXPORT_PAGE", 2)
    made = [(await booked(api, f"candidate-{i}"))["id"] for i in range(4)]

    full_pages = [row["reservation"] for row in await bookings(api)]
    made.append((await booked(api, "candidate-4"))["id"])
    a_page_begun = [row["reservation"] for row in await bookings(api)]

    assert full_pages == sorted(made[:4])
    assert a_page_begun == sorted(made)


async def test_a_look_at_the_headers_brings_no_rows(api: ApiClient) -> None:
    await booked(api, "candidate-1")

    reply = await api.call("HEAD", "/v1/exams/exam-1/bookings.csv", key=api.ops_key)
    after = await bookings(api)

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"].startswith("text/csv")
    assert len(after) == 1


async def test_only_ops_may_export_and_only_an_exam_that_is(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await booked(api, "candidate-1")
    path = "/v1/exams/exam-1/bookings.csv"

    async with nothing_changes():
        frontend, nobody = await api.get(path), await api.get(path, key=None)
        unknown = await api.get("/v1/exams/exam-9/bookings.csv", key=api.ops_key)

    assert_refused(frontend, 403, "forbidden")
    assert_refused(nobody, 401, "unauthorized")
    assert_refused(unknown, 404, "unknown-exam")
