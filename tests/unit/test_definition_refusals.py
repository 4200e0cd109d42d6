"""What is refused in a definition, by the place of the member that is wrong."""

import copy
from datetime import UTC, datetime

import pytest

from quota_service.definitions.reading import MEMBERS_MAX, parse_exam
from quota_service.domain.definition import DefinitionError, Problem
from quota_service.domain.exam import MAX_CAPACITY
from tests.support.definitions import (
    Document,
    document,
    places_of,
    problems_of,
    shortly,
    spoil,
    without,
)


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


@pytest.mark.parametrize("raw", [[], "exam", None, 7])
def test_a_document_that_is_no_table_is_refused(raw: object) -> None:
    assert places_of(raw) == ["definition"]


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
