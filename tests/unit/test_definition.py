"""Definitions of exams: what is read from them, and what is refused, by the name of the member.

Over 400 lines because every rule of a definition has its refusal here.
"""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quota_service
from quota_service.definitions.files import load_exam_file
from quota_service.definitions.reading import MEMBERS_MAX, parse_exam
from quota_service.domain.definition import LATEST_MS, DefinitionError, Problem, exam_document
from quota_service.domain.exam import (
    MAX_CAPACITY,
    Exam,
    Fee,
    HoldRules,
    Notice,
    Quota,
    Session,
    Subject,
    Text,
    Venue,
    WaitingRoomRules,
    Window,
)

SAMPLE = Path(quota_service.__file__).parent / "exams" / "ccaa-2023-1.toml"

Document = dict[str, Any]


def document() -> Document:
    """Return a small definition that is right; each test spoils its own copy."""
    return {
        "id": "spring",
        "title": {"zh": "春季考试", "en": "Spring exam"},
        "time_zone": "Asia/Shanghai",
        "registration": {"opens_at": "2023-03-14T12:00:00", "closes_at": "2023-03-22T12:00:00"},
        "refund": {
            "opens_at": "2023-03-14T12:00:00+08:00",
            "closes_at": "2023-03-22T04:00:00.000Z",
        },
        "fee": {"amount": 8000, "currency": "CNY"},
        "hold": {"ttl_s": 900, "checkout_grace_s": 300, "expiry_slack_s": 2},
        "notice": {"version": "v1", "text": {"zh": "须知\n第二行", "en": "Notice\nline two"}},
        "sessions": [
            {
                "id": "am",
                "title": {"zh": "上午", "en": "Morning"},
                "starts_at": "2023-05-20T09:00:00",
                "ends_at": "2023-05-20T11:00:00",
            },
            {
                "id": "pm",
                "title": {"zh": "下午", "en": "Afternoon"},
                "starts_at": "2023-05-20T14:00:00",
                "ends_at": "2023-05-20T16:00:00",
            },
        ],
        "subjects": [
            {"id": "general", "title": {"zh": "基础", "en": "General"}, "session": "am"},
            {"id": "qms", "title": {"zh": "质量", "en": "QMS"}, "session": "pm"},
        ],
        "venues": [
            {"id": "jinan", "title": {"zh": "济南", "en": "Jinan"}},
            {"id": "hefei", "title": {"zh": "合肥", "en": "Hefei"}},
        ],
        "seats": {"jinan": {"general": 10, "qms": 5}, "hefei": {"general": 0}},
    }


def spoil(path: str, value: object) -> Document:
    """Return the right definition with the member at `a.b.0.c` set to `value`."""
    whole = document()
    *parents, last = path.split(".")
    place: Any = whole
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return whole


def without(path: str) -> Document:
    whole = document()
    *parents, last = path.split(".")
    place: Any = whole
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    del place[last]
    return whole


def problems_of(raw: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        parse_exam(raw)
    return caught.value.problems


def places_of(raw: Any) -> list[str]:
    return [problem.where for problem in problems_of(raw)]


def shortly(value: object) -> str:
    """Name a case of a parametrized test."""
    return repr(value)[:40]


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


# What is right


def test_the_sample_exam_is_the_one_of_the_manual() -> None:
    exam = load_exam_file(SAMPLE)

    assert exam.id == "ccaa-2023-1"
    assert exam.registration == Window(
        milliseconds("2023-03-14T12:00:00+08:00"), milliseconds("2023-03-22T12:00:00+08:00")
    )
    assert exam.refund == exam.registration
    assert exam.fee == Fee(8000, "CNY")
    assert " ".join(dict(venue.title.languages)["zh"] for venue in exam.venues) == (
        "济南 青岛 天津 北京 石家庄 郑州 合肥 南京 上海"
    )
    titles = {s.id: dict(s.title.languages)["zh"] for s in exam.subjects}
    assert titles["general"] == "认证通用基础"
    assert titles["qms"] == "QMS 基础知识"
    assert titles["service"] == "服务认证基础"


def test_the_sample_exam_has_two_days_a_shared_session_and_seats_of_every_size() -> None:
    exam = load_exam_file(SAMPLE)

    sessions = list(exam.session_of.values())
    days = {
        datetime.fromtimestamp(session.starts_at_ms / 1000, UTC).date().isoformat()
        for session in exam.sessions
    }
    assert days == {"2023-05-20", "2023-05-21"}
    assert max(sessions.count(session) for session in sessions) == 2
    assert min(exam.seats.values()) < 10
    assert max(exam.seats.values()) >= 1000


def test_the_sample_exam_comes_back_whole_from_its_document() -> None:
    exam = load_exam_file(SAMPLE)

    again = parse_exam(json.loads(json.dumps(exam_document(exam))))

    assert again == exam


def test_times_become_utc_with_milliseconds_in_the_document() -> None:
    written: Any = exam_document(parse_exam(document()))

    assert written["registration"]["opens_at"] == "2023-03-14T04:00:00.000Z"
    assert written["sessions"][1]["ends_at"] == "2023-05-20T08:00:00.000Z"


def test_equal_exams_give_equal_documents_down_to_the_order() -> None:
    turned = document()
    turned["seats"] = {"hefei": {"general": 0}, "jinan": {"qms": 5, "general": 10}}
    straight, other = parse_exam(document()), parse_exam(turned)

    assert straight == other
    assert json.dumps(exam_document(straight)) == json.dumps(exam_document(other))


def test_a_time_without_an_offset_is_in_the_time_zone_of_the_exam() -> None:
    exam = parse_exam(document())

    assert exam.registration == exam.refund


def test_toml_datetimes_are_times_too() -> None:
    raw = spoil("registration.opens_at", datetime(2023, 3, 14, 4, tzinfo=UTC))
    raw["registration"]["closes_at"] = datetime(2023, 3, 22, 12)  # noqa: DTZ001 (local on purpose)

    exam = parse_exam(raw)

    assert exam.registration == exam.refund


def test_an_answer_of_the_api_with_its_server_time_can_be_sent_back() -> None:
    raw = document()
    raw["server_time"] = "2023-03-14T04:00:00.123Z"

    assert parse_exam(raw) == parse_exam(document())


def test_grace_and_slack_have_defaults_but_the_ttl_has_none() -> None:
    exam = parse_exam(spoil("hold", {"ttl_s": 60}))

    assert exam.hold == HoldRules(ttl_s=60, checkout_grace_s=600, expiry_slack_s=5)
    assert places_of(spoil("hold", {})) == ["hold.ttl_s"]


def test_seats_may_be_rows_and_call_the_figure_capacity() -> None:
    rows = [
        {"venue": "jinan", "subject": "general", "seats": 10},
        {"venue": "jinan", "subject": "qms", "capacity": 5},
        {"venue": "hefei", "subject": "general", "seats": 0},
    ]

    assert parse_exam(spoil("seats", rows)) == parse_exam(document())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", "a"),
        ("id", "0" * 32),
        ("title.zh", "题" * 200),
        ("notice.text.en", "x" * 10_000),
        ("notice.text.en", "tab\tand\r\nbreaks"),
        ("notice.version", "2023.1_b-Z"),
        ("fee.amount", 0),
        ("fee.amount", 10_000_000),
        ("hold.ttl_s", 1),
        ("hold.ttl_s", 86_400),
        ("hold.checkout_grace_s", 0),
        ("hold.checkout_grace_s", 86_400),
        ("hold.expiry_slack_s", 0),
        ("hold.expiry_slack_s", 60),
        ("seats.jinan.qms", 0),
        ("seats.jinan.qms", MAX_CAPACITY),
        ("seats.hefei", {}),
        ("time_zone", "UTC"),
        ("registration.opens_at", "2023-03-14t12:00:00.1200000z"),
        ("registration.opens_at", "1970-01-01 00:00:00-00:00"),
        ("registration.closes_at", "9999-12-31T23:59:59.999Z"),
    ],
    ids=shortly,
)
def test_values_at_the_edge_are_accepted(path: str, value: object) -> None:
    parse_exam(spoil(path, value))


# What is wrong


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("id", "Spring", "id"),
        ("id", "-spring", "id"),
        ("id", "spring\n", "id"),
        ("id", "春", "id"),
        ("id", "a" * 33, "id"),
        ("id", "", "id"),
        ("id", 7, "id"),
        ("id", None, "id"),
        ("title.zh", "", "title.zh"),
        ("title.zh", "  ", "title.zh"),
        ("title.en", "x" * 201, "title.en"),
        ("title.en", "bell\x07", "title.en"),
        ("title.en", "two\nlines", "title.en"),
        ("title.en", "two\u2028lines", "title.en"),
        ("title.en", "half a pair \ud800", "title.en"),
        ("time_zone", "Asia/Jinan", "time_zone"),
        ("time_zone", "Asia", "time_zone"),
        ("time_zone", "../../etc/passwd", "time_zone"),
        ("time_zone", "localtime", "time_zone"),
        ("time_zone", "", "time_zone"),
        ("time_zone", 8, "time_zone"),
        ("registration.opens_at", "14 March", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14T12:00", "registration.opens_at"),
        ("registration.opens_at", "2023-02-29T12:00:00Z", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14T24:00:00Z", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14T12:00:00+24:00", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14T12:00:00.0001Z", "registration.opens_at"),
        ("registration.opens_at", "2023-03-14T12:00:00Z\n", "registration.opens_at"),
        ("registration.opens_at", "202\u0663-03-14T12:00:00Z", "registration.opens_at"),
        ("registration.opens_at", "1969-12-31T23:59:59Z", "registration.opens_at"),
        ("registration.opens_at", "0001-01-01T00:00:00+14:00", "registration.opens_at"),
        ("registration.opens_at", datetime(2023, 3, 14, 4, 0, 0, 1, UTC), "registration.opens_at"),
        ("registration.opens_at", 1678766400000, "registration.opens_at"),
        ("registration.opens_at", datetime(2023, 3, 14).date(), "registration.opens_at"),  # noqa: DTZ001
        ("registration.closes_at", "2023-03-14T12:00:00", "registration.closes_at"),
        ("registration.closes_at", "9999-12-31T23:59:59-01:00", "registration.closes_at"),
        ("refund.closes_at", "2022-01-01T00:00:00Z", "refund.closes_at"),
        ("refund.until", "2023-03-14T12:00:00", "refund.until"),
        ("refund", [], "refund"),
        ("fee.amount", -1, "fee.amount"),
        ("fee.amount", 10_000_001, "fee.amount"),
        ("fee.amount", 80.0, "fee.amount"),
        ("fee.amount", True, "fee.amount"),
        ("fee.amount", "8000", "fee.amount"),
        ("fee.currency", "cny", "fee.currency"),
        ("fee.currency", "CNYY", "fee.currency"),
        ("fee.currency", "CNY\n", "fee.currency"),
        ("fee.currency", "CN\uff39", "fee.currency"),
        ("hold.ttl_s", 0, "hold.ttl_s"),
        ("hold.ttl_s", 86_401, "hold.ttl_s"),
        ("hold.checkout_grace_s", -1, "hold.checkout_grace_s"),
        ("hold.checkout_grace_s", 86_401, "hold.checkout_grace_s"),
        ("hold.checkout_grace_s", None, "hold.checkout_grace_s"),
        ("hold.expiry_slack_s", 61, "hold.expiry_slack_s"),
        ("hold.ttl_ms", 900, "hold.ttl_ms"),
        ("notice.version", "", "notice.version"),
        ("notice.version", "v" * 33, "notice.version"),
        ("notice.version", "v 1", "notice.version"),
        ("notice.version", 1, "notice.version"),
        ("notice.text.zh", "", "notice.text.zh"),
        ("notice.text.zh", "x" * 10_001, "notice.text.zh"),
        ("notice.text.zh", "nul\x00", "notice.text.zh"),
        ("sessions", {}, "sessions"),
        ("sessions.1.ends_at", "2023-05-20T14:00:00", "sessions[1].ends_at"),
        ("sessions.1.room", "A", "sessions[1].room"),
        ("subjects.0.session", "evening", "subjects[0].session"),
        ("subjects.0.session", 3, "subjects[0].session"),
        ("subjects.0.title.en", 3, "subjects[0].title.en"),
        ("subjects.0.price", 3, "subjects[0].price"),
        ("venues.1.city", "Hefei", "venues[1].city"),
        ("seats", 5, "seats"),
        ("seats", {}, "seats"),
        ("seats", [], "seats"),
        ("seats", {"jinan": {}}, "seats"),
        ("seats.jinan", 5, "seats.jinan"),
        ("seats.mars", {"qms": 5}, "seats.mars"),
        ("seats.mars", {}, "seats.mars"),
        ("seats.济南", {"qms": 5}, "seats.'济南'"),
        ("seats.jinan.ems", 5, "seats.jinan.ems"),
        ("seats.jinan.qms", -1, "seats.jinan.qms"),
        ("seats.jinan.qms", MAX_CAPACITY + 1, "seats.jinan.qms"),
        ("seats.jinan.qms", True, "seats.jinan.qms"),
        ("seats.jinan.qms", 5.0, "seats.jinan.qms"),
        ("seats.jinan.qms", None, "seats.jinan.qms"),
        ("colour", "red", "colour"),
        ("seats_csv", "seats.csv", "seats_csv"),
        ("line\nbreak", 1, r"'line\nbreak'"),
    ],
    ids=shortly,
)
def test_a_wrong_value_is_named_by_its_place(path: str, value: object, where: str) -> None:
    assert set(places_of(spoil(path, value))) == {where}


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("sessions.1", "pm", ["sessions[1]", "subjects[1].session"]),
        ("sessions.1.id", "p.m", ["sessions[1].id", "subjects[1].session"]),
        ("sessions.1.id", "am", ["sessions[1].id", "subjects[1].session"]),
        ("subjects.1.id", "general", ["subjects[1].id", "seats.jinan.qms"]),
        ("venues.1.id", "jinan", ["venues[1].id", "seats.hefei"]),
    ],
)
def test_a_wrong_id_is_named_together_with_what_refers_to_the_right_one(
    path: str, value: object, where: list[str]
) -> None:
    assert places_of(spoil(path, value)) == where


@pytest.mark.parametrize("key", list(document()))
def test_every_member_at_the_top_is_required(key: str) -> None:
    assert Problem(key, "is missing") in problems_of(without(key))


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("title", "title"),
        ("registration.opens_at", "registration.opens_at"),
        ("fee.currency", "fee.currency"),
        ("notice.text", "notice.text"),
        ("sessions.0.ends_at", "sessions[0].ends_at"),
        ("subjects.1.session", "subjects[1].session"),
        ("venues.1.title", "venues[1].title"),
    ],
)
def test_a_missing_member_is_named(path: str, where: str) -> None:
    assert problems_of(without(path)) == (Problem(where, "is missing"),)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ({"venue": "mars", "subject": "qms", "seats": 1}, "seats[1].venue"),
        ({"venue": ["jinan"], "subject": "qms", "seats": 1}, "seats[1].venue"),
        ({"venue": "jinan", "subject": "ems", "seats": 1}, "seats[1].subject"),
        ({"venue": "jinan", "subject": "qms", "seats": "1"}, "seats[1].seats"),
        ({"venue": "jinan", "subject": "qms", "capacity": -1}, "seats[1].capacity"),
        ({"venue": "jinan", "subject": "qms"}, "seats[1].seats"),
        ({"subject": "qms", "seats": 1}, "seats[1].venue"),
        ({"venue": "jinan", "subject": "qms", "seats": 1, "capacity": 1}, "seats[1].capacity"),
        ({"venue": "jinan", "subject": "qms", "seats": 1, "remaining": 1}, "seats[1].remaining"),
        ({"venue": "jinan", "subject": "general", "seats": 1}, "seats[1]"),
        ("jinan", "seats[1]"),
    ],
    ids=shortly,
)
def test_a_wrong_row_of_seats_is_named_by_its_place(row: object, where: str) -> None:
    first = {"venue": "jinan", "subject": "general", "seats": 10}

    assert places_of(spoil("seats", [first, row])) == [where]


def test_a_wrong_row_far_down_is_named_by_its_place() -> None:
    whole = document()
    whole["subjects"] = [{**whole["subjects"][0], "id": f"s{index}"} for index in range(128)]
    whole["venues"] = [{**whole["venues"][0], "id": f"v{index}"} for index in range(8)]
    whole["seats"] = [
        {"venue": venue["id"], "subject": subject["id"], "seats": 1}
        for venue in whole["venues"]
        for subject in whole["subjects"]
    ]
    right = parse_exam(whole)
    whole["seats"][1000]["seats"] = -1

    assert len(right.seats) == 1024
    assert places_of(whole) == ["seats[1000].seats"]


@pytest.mark.parametrize("place", ["fee", "title", "notice.text", "hold", "colour"])
def test_a_crowd_of_members_is_refused_before_each_is_looked_at(place: str) -> None:
    crowd = {f"key{index}": index for index in range(MEMBERS_MAX + 1)}

    assert problems_of(spoil(place, crowd)) == (
        Problem("definition", "has more than 30000 members beside its seats"),
    )


def test_of_a_text_in_too_many_languages_nothing_is_said_but_that() -> None:
    assert problems_of(spoil("title", dict.fromkeys(map(str, range(33)), 5))) == (
        Problem("title", "must have 1 to 32 languages, not 33"),
    )


@pytest.mark.parametrize(("key", "most"), [("sessions", 32), ("subjects", 128), ("venues", 512)])
def test_a_list_has_at_least_one_entry_and_an_upper_limit(key: str, most: int) -> None:
    whole = document()
    too_many = [{**whole[key][0], "id": f"x{index}"} for index in range(most + 1)]

    assert places_of(spoil(key, [])) == [key]
    assert places_of(spoil(key, too_many)) == [key]


def test_a_full_list_is_accepted() -> None:
    whole = document()
    whole["venues"] += [{**whole["venues"][0], "id": f"x{index}"} for index in range(510)]

    assert len(parse_exam(whole).venues) == 512


def test_a_local_time_on_a_clock_change_needs_its_offset() -> None:
    skipped = spoil("time_zone", "Europe/Berlin")
    skipped["refund"] = {"opens_at": "2023-03-26T02:30:00", "closes_at": "2023-10-29T02:30:00"}
    told = copy.deepcopy(skipped)
    told["refund"] = {
        "opens_at": "2023-03-26T03:30:00+02:00",
        "closes_at": "2023-10-29T02:30:00+01:00",
    }

    assert places_of(skipped) == ["refund.opens_at", "refund.closes_at"]
    parse_exam(told)


def test_an_unknown_time_zone_is_said_once_and_not_for_each_time() -> None:
    assert places_of(spoil("time_zone", "Mars/Olympus")) == ["time_zone"]


def test_everything_wrong_is_said_at_once_in_the_order_of_the_definition() -> None:
    raw = document()
    raw["fee"]["amount"] = -1
    raw["sessions"][1]["starts_at"] = "soon"
    raw["subjects"][0]["session"] = "evening"
    raw["seats"]["jinan"]["qms"] = -5
    raw["colour"] = "red"

    assert problems_of(raw) == (
        Problem("fee.amount", "must be a whole number from 0 to 10000000, not -1"),
        Problem(
            "sessions[1].starts_at",
            "must be an RFC 3339 date and time such as 2023-03-14T12:00:00+08:00, not 'soon'",
        ),
        Problem("subjects[0].session", "'evening' is not a session of this exam"),
        Problem("seats.jinan.qms", "must be a whole number from 0 to 1000000, not -5"),
        Problem("colour", "unknown key"),
    )


def test_the_error_lists_its_problems_one_a_line() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_exam({**without("fee"), "colour": "red"})

    assert str(caught.value) == "fee: is missing\ncolour: unknown key"


def test_the_error_carries_a_hundred_problems_and_counts_the_rest() -> None:
    raw = document() | {f"key{index}": index for index in range(130)}

    with pytest.raises(DefinitionError) as caught:
        parse_exam(raw)

    assert len(caught.value.problems) == 100
    assert str(caught.value).endswith("key99: unknown key\n… and 30 more")


def test_a_long_wrong_value_is_repeated_only_in_part() -> None:
    (problem,) = problems_of(spoil("id", "X" * 10_000))

    assert len(problem.detail) < 200


def test_a_number_too_long_to_print_is_a_problem_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text("[fee]\namount = 0x" + "f" * 50_000, encoding="utf-8")

    assert Problem(
        "fee.amount", "must be a whole number from 0 to 10000000, not a very large number"
    ) in file_problems_of(path)


@pytest.mark.parametrize("raw", [[], "exam", None, 7])
def test_a_document_that_is_no_table_is_refused(raw: object) -> None:
    assert places_of(raw) == ["definition"]


# Files


def write_definition(folder: Path, raw: Document) -> Path:
    path = folder / "spring.json"
    path.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")
    return path


def write_with_csv(folder: Path, csv: str) -> Path:
    (folder / "seats.csv").write_text(csv, encoding="utf-8")
    return write_definition(folder, {**without("seats"), "seats_csv": "seats.csv"})


def file_problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        load_exam_file(path)
    return caught.value.problems


def test_a_json_file_is_read_like_the_document(tmp_path: Path) -> None:
    path = write_definition(tmp_path, document())

    assert load_exam_file(path) == parse_exam(document())


def test_seats_come_from_the_csv_beside_the_file(tmp_path: Path) -> None:
    csv = "\ufeffsubject, venue ,seats\r\ngeneral,jinan,10\r\n\r\nqms,jinan, 5\r\ngeneral,hefei,0"
    path = write_with_csv(tmp_path, csv)

    assert load_exam_file(path) == parse_exam(document())


def test_wrong_csv_lines_are_named_together_with_the_other_problems(tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text(
        "venue,subject,seats\n"
        "jinan,general,10\n"
        "mars,qms,5\n"
        "jinan,ems,5\n"
        "\n"
        "jinan,qms,many\n"
        "hefei,qms\n"
        "hefei,qms,1000001\n"
        "jinan,general,11\n",
        encoding="utf-8",
    )
    raw = {**without("seats"), "seats_csv": "seats.csv", "colour": "red"}

    assert set(file_problems_of(write_definition(tmp_path, raw))) == {
        Problem("seats.csv:3", "'mars' is not a venue of this exam"),
        Problem("seats.csv:4", "'ems' is not a subject of this exam"),
        Problem("seats.csv:6", "must be a whole number from 0 to 1000000, not 'many'"),
        Problem("seats.csv:7", "has 2 columns, not 3"),
        Problem("seats.csv:8", "must be a whole number from 0 to 1000000, not 1000001"),
        Problem("seats.csv:9", "the seats of 'jinan/general' are already given at seats.csv:2"),
        Problem("colour", "unknown key"),
    }


@pytest.mark.parametrize(
    ("csv", "where"),
    [
        ("", "seats.csv:1"),
        ("venue,seats\njinan,5\n", "seats.csv:1"),
        ("venue,subject,seats,seats\njinan,qms,5,5\n", "seats.csv:1"),
        ("jinan,qms,5\n", "seats.csv:1"),
        ("venue,subject,seats\n", "seats.csv"),
        ('venue,subject,seats\njinan,general,5\njinan,"qms"x,5\n', "seats.csv:3"),
        ("venue,subject,seats\njinan,qms,-5\n", "seats.csv:2"),
        ("venue,subject,seats\njinan,qms,\u0665\n", "seats.csv:2"),
        ("venue,subject,seats\njinan,qms,1" + "0" * 5000, "seats.csv:2"),
    ],
    ids=shortly,
)
def test_a_wrong_seats_file_is_named_by_its_line(tmp_path: Path, csv: str, where: str) -> None:
    assert [problem.where for problem in file_problems_of(write_with_csv(tmp_path, csv))] == [where]


@pytest.mark.parametrize("name", ["gone.csv", "../seats.csv", "/etc/passwd", "..", "", 5, "a\0b"])
def test_a_seats_file_that_is_not_beside_the_definition_is_refused(
    tmp_path: Path, name: object
) -> None:
    path = write_definition(tmp_path, {**without("seats"), "seats_csv": name})

    assert "seats_csv" in {problem.where for problem in file_problems_of(path)}


def test_seats_inline_and_in_a_csv_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text("venue,subject,seats\njinan,qms,5\n", encoding="utf-8")
    path = write_definition(tmp_path, {**document(), "seats_csv": "seats.csv"})

    assert [problem.where for problem in file_problems_of(path)] == ["seats_csv"]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'id = "spring"\ntitle = {\n', "broken.toml:2"),
        (b'id = "spring"\nid = "autumn"\n', "broken.toml:2"),
        (b'id = "spring"\n\nfee = """\nnever closed', "broken.toml:4"),
        (b'id = "spring"\ntitle = "\xff"\n', "broken.toml:2"),
        (b"amount = " + b"9" * 5000, "broken.toml"),
        (b"a = " + b"[" * 100_000, "broken.toml"),
    ],
    ids=shortly,
)
def test_a_syntax_error_of_toml_names_file_and_line(
    tmp_path: Path, content: bytes, where: str
) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)

    (problem,) = file_problems_of(path)

    assert problem.where == where
    assert "(at " not in problem.detail


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{\n"id": "spring",\n}', "broken.json:3"),
        ('{"id": "spring", "id": "autumn"}', "broken.json"),
        ("[]", "broken.json"),
        ("[" * 100_000, "broken.json"),
    ],
    ids=shortly,
)
def test_a_syntax_error_of_json_names_the_file(tmp_path: Path, content: str, where: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")

    (problem,) = file_problems_of(path)

    assert problem.where == where


def test_a_file_with_an_id_that_is_kept_for_rehearsals_is_refused(tmp_path: Path) -> None:
    path = write_definition(tmp_path, document() | {"id": "rehearsal-1"})

    with pytest.raises(DefinitionError, match="id: starts with rehearsal-"):
        load_exam_file(path)


def test_a_file_that_is_not_there_is_a_problem_of_the_definition(tmp_path: Path) -> None:
    (problem,) = file_problems_of(tmp_path / "gone.toml")

    assert problem == Problem("gone.toml", "cannot be read: No such file or directory")


# Round trip

identifiers = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
printable = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
words = st.text(printable, min_size=1, max_size=20).filter(str.strip)
languages = st.sampled_from(["zh", "en", "fr", "zh-Hant", "pt-BR"])
titles = st.builds(
    Text.of,
    st.dictionaries(languages, words, min_size=1) | st.fixed_dictionaries({"": words}),
)
moments = st.integers(0, LATEST_MS)
spans = st.lists(moments, min_size=2, max_size=2, unique=True).map(sorted)


def unique_ids(most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(identifiers, min_size=1, max_size=most, unique=True)


waiting_rooms = st.builds(
    WaitingRoomRules,
    rate_per_s=st.floats(1, 1000),
    rate_max_per_s=st.floats(1000, 100_000),
    rate_min_per_s=st.floats(0.01, 1),
    places_max=st.integers(1, 1_000_000),
    pass_ttl_s=st.integers(30, 3600),
    idle_s=st.integers(1, 30),
    claim_grace_s=st.integers(1, 86_400),
)


@st.composite
def exams(draw: st.DrawFn) -> Exam:
    sessions = tuple(Session(i, draw(titles), *draw(spans)) for i in draw(unique_ids(3)))
    subjects = tuple(
        Subject(i, draw(titles), draw(st.sampled_from(sessions)).id) for i in draw(unique_ids(3))
    )
    venues = tuple(Venue(i, draw(titles)) for i in draw(unique_ids(3)))
    quotas = [Quota(venue.id, subject.id) for venue in venues for subject in subjects]
    return Exam(
        id=draw(identifiers),
        title=draw(titles),
        time_zone=draw(st.sampled_from(["Asia/Shanghai", "UTC", "America/New_York"])),
        registration=Window(*draw(spans)),
        refund=Window(*draw(spans)),
        hold=HoldRules(
            draw(st.integers(1, 86_400)), draw(st.integers(0, 86_400)), draw(st.integers(0, 60))
        ),
        fee=Fee(draw(st.integers(0, 10_000_000)), draw(st.from_regex(r"[A-Z]{3}", fullmatch=True))),
        notice=Notice(draw(st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True)), draw(titles)),
        sessions=sessions,
        subjects=subjects,
        venues=venues,
        seats=draw(
            st.dictionaries(st.sampled_from(quotas), st.integers(0, MAX_CAPACITY), min_size=1)
        ),
        waiting_room=draw(st.none() | waiting_rooms),
    )


@settings(max_examples=50)
@given(exams())
def test_every_exam_comes_back_whole_from_its_document(exam: Exam) -> None:
    written = exam_document(exam)

    again = parse_exam(json.loads(json.dumps(written)))

    assert again == exam
    assert json.dumps(exam_document(again)) == json.dumps(written)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.datetimes()
    | st.sampled_from(["Asia/Shanghai", "2023-03-14T12:00:00", "am", "qms", "jinan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
paths = st.sampled_from(
    [
        *document(),
        *("title.zh", "registration.opens_at", "fee.amount", "hold.ttl_s", "notice.text"),
        *("sessions.0", "sessions.1.starts_at", "sessions.1.id", "subjects.0.session"),
        *("venues.0.id", "venues.1.title.en", "seats.jinan", "seats.jinan.qms"),
    ]
)


@settings(max_examples=200)
@given(paths, anything)
def test_no_value_anywhere_does_worse_than_a_printable_definition_error(
    path: str, value: object
) -> None:
    raw = spoil(path, value)

    outcome: Exam | DefinitionError
    try:
        outcome = parse_exam(raw)
    except DefinitionError as error:
        outcome = error

    if isinstance(outcome, Exam):
        assert parse_exam(exam_document(outcome)) == outcome
    else:
        assert outcome.problems
        assert str(outcome).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("title", "Spring exam"),
        ("title", {"en": "Spring exam"}),
        ("title", {"zh-Hant": "春季考試", "en-GB": "Spring exam", "fr": "Examen"}),
        ("notice.text", "Notice\nline two"),
        ("notice.text", {"de": "Hinweis"}),
        ("venues.0.title", "Jinan"),
        ("subjects.0.title", {"es": "General"}),
        ("sessions.1.title", {"pt-BR": "Tarde"}),
    ],
)
def test_a_text_may_be_in_any_languages_or_plain(path: str, text: object) -> None:
    exam = parse_exam(spoil(path, text))

    whole = exam_document(exam)
    told: Any = whole
    for part in path.split("."):
        told = told[int(part)] if isinstance(told, list) else told[part]
    assert told == text
    assert parse_exam(json.loads(json.dumps(whole))) == exam


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ({}, "title"),
        ("", "title"),
        ("  ", "title"),
        ("x" * 201, "title"),
        ("bell\x07", "title"),
        (5, "title"),
        ({"english": "a", "en_GB": "b"}, "title.en_GB"),
        ({"en": "a", "": "b"}, "title.''"),
        ({"en": "a", "f r": "b"}, "title.'f r'"),
        ({"fr": ""}, "title.fr"),
    ],
)
def test_a_text_in_no_language_or_in_none_that_can_be_told_is_refused(
    text: object, where: str
) -> None:
    assert places_of(spoil("title", text)) == [where]


@pytest.mark.parametrize(
    ("spoiled", "where"), [({"\ud800": 1}, "definition"), ({"hold": {"\ud800": 1}}, "hold")]
)
def test_a_key_that_is_no_text_is_refused_and_so_is_what_it_stands_in(
    spoiled: Document, where: str
) -> None:
    """As `json.loads` reads it from a file; a body with such a key is malformed before."""
    with pytest.raises(DefinitionError) as refused:
        parse_exam({**document(), **spoiled})

    assert refused.value.problems == (Problem(where, "has a key that is not Unicode text"),)
