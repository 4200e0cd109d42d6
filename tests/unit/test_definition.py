"""Definitions of exams: what is read from them, and the documents they become."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import quota_service
from quota_service.definitions.files import load_exam_file
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import exam_document
from quota_service.domain.exam import (
    MAX_CAPACITY,
    Fee,
    HoldRules,
    Window,
)
from tests.support.definitions import document, places_of, shortly, spoil

SAMPLE = Path(quota_service.__file__).parent / "exams" / "ccaa-2023-1.toml"


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


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
