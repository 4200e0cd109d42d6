"""What a definition says of seats beside open sale: read, written, refused, changed, announced."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from quota_service.api.exams import exam_json
from quota_service.definitions.allocation import RELEASES_MAX, SET_ASIDES_MAX, TIMES_MAX
from quota_service.definitions.reading import parse_exam
from quota_service.definitions.template import template
from quota_service.definitions.toml import toml_of
from quota_service.domain.changes import plan_changes
from quota_service.domain.definition import EPOCH, exam_document
from quota_service.domain.exam import (
    MAX_CAPACITY,
    Announce,
    Exam,
    ListOrder,
    QuietHours,
    Quota,
    ReturnedSeats,
    ReturnRule,
    WaitingListRules,
)
from quota_service.domain.timetable import contradictions, warnings
from tests.support.definitions import Document, document, problems_of, shortly

RELEASE: Document = {
    "id": "evening",
    "at": "2023-03-14T20:00:00+08:00",
    "announce": "time-and-venues",
    "seats": {"jinan": {"qms": 50}, "hefei": {"general": 1}},
}
SET_ASIDE: Document = {
    "id": "teachers",
    "title": "Teachers",
    "until": "2023-03-20T12:00:00",
    "seats": {"jinan": {"qms": 5}},
}
ALL: Document = {
    "returned": {"rule": "at-times", "times": ["10:00", "16:00"]},
    "waiting_list": {
        "offer_ttl_s": 3600,
        "order": "draw",
        "length_max": 50,
        "quiet_hours": {"from": "22:00", "to": "07:00"},
    },
    "rooms": {"jinan": {"am": 300, "pm": 0}},
    "releases": [RELEASE],
    "set_asides": [SET_ASIDE],
}
LIST_FIRST = {"returned": {"rule": "list-first"}}


def parsed(**members: Any) -> Exam:
    return parse_exam({**document(), **members})


def release(**members: Any) -> Document:
    return {"releases": [{**RELEASE, **members}]}


def set_aside(**members: Any) -> Document:
    return {"set_asides": [{**SET_ASIDE, **members}]}


def test_a_definition_without_these_members_is_the_document_it_was() -> None:
    exam = parsed()

    assert (exam.returned, exam.waiting_list) == (ReturnedSeats(), None)
    assert (exam.releases, exam.set_asides, exam.ceilings) == ((), (), {})
    assert not exam_document(exam).keys() & ALL.keys()
    assert not exam_json(exam).keys() & ALL.keys()


def test_every_member_is_read_and_comes_back_from_json_and_toml() -> None:
    exam = parsed(**ALL)
    written = exam_document(exam)

    assert exam.returned == ReturnedSeats(ReturnRule.AT_TIMES, ("10:00", "16:00"))
    quiet = QuietHours("22:00", "07:00")
    assert exam.waiting_list == WaitingListRules(3600, ListOrder.DRAW, quiet, 50)
    assert exam.ceilings == {("jinan", "am"): 300, ("jinan", "pm"): 0}
    assert exam.releases[0].seats == {Quota("jinan", "qms"): 50, Quota("hefei", "general"): 1}
    assert exam.set_asides[0].seats == {Quota("jinan", "qms"): 5}
    assert parse_exam(json.loads(json.dumps(written))) == exam
    assert parse_exam(tomllib.loads(toml_of(written))) == exam


def test_a_list_without_quiet_hours_comes_back_from_json_and_toml() -> None:
    exam = parsed(**LIST_FIRST, waiting_list={})
    written = exam_document(exam)

    assert parse_exam(json.loads(json.dumps(written))) == exam
    assert parse_exam(tomllib.loads(toml_of(written))) == exam


def test_times_of_day_come_in_order_and_the_list_has_defaults() -> None:
    exam = parsed(
        returned={"rule": "at-times", "times": ["16:00", "09:30"]},
        waiting_list={},
    )

    assert exam.returned.times == ("09:30", "16:00")
    assert exam.waiting_list == WaitingListRules(43_200, ListOrder.NUMBER, None, 10_000)
    assert parsed(returned={}) == parsed(returned={"rule": "at-once"}) == parsed()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"returned": {"rule": "later"}}, "returned.rule: must be one of at-once, list-first, "),
        ({"returned": {"rule": "at-times"}}, "returned.times: must name at least one time"),
        ({"returned": {"times": ["10:00"]}}, "returned.times: are for the rule at-times, not "),
        (
            {"returned": {"rule": "list-first", "times": ["10:00"]}},
            "returned.times: are for the rule at-times, not for list-first",
        ),
        (
            {"returned": {"rule": "at-times", "times": ["24:00"]}},
            "returned.times[0]: must be a time of day such as 08:30, not '24:00'",
        ),
        (
            {"returned": {"rule": "at-times", "times": ["10:00", "9:00"]}},
            "returned.times[1]: must be a time of day such as 08:30, not '9:00'",
        ),
        (
            {"returned": {"rule": "at-times", "times": ["10:00", "10:00"]}},
            "returned.times: has 10:00 twice",
        ),
        (
            {"returned": {"rule": "at-times", "times": ["10:00"] * (TIMES_MAX + 1)}},
            f"returned.times: must have at most {TIMES_MAX} entries, not {TIMES_MAX + 1}",
        ),
        ({"returned": []}, "returned: must be a table"),
        ({"returned": {"when": 1}}, "returned.when: unknown key"),
        ({"waiting_list": {}}, "waiting_list: needs returned.rule list-first or at-times, not "),
        (
            {"waiting_list": {}, "returned": {"rule": "at-once"}},
            "waiting_list: needs returned.rule list-first or at-times, not at-once",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"offer_ttl_s": 59}},
            "waiting_list.offer_ttl_s: must be a whole number from 60 to 2592000, not 59",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"order": "age"}},
            "waiting_list.order: must be one of number, draw, not 'age'",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"length_max": 0}},
            "waiting_list.length_max: must be a whole number from 1 to 1000000, not 0",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"quiet_hours": {"from": "22:00", "to": "22:00"}}},
            "waiting_list.quiet_hours.to: must be another time than from",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"quiet_hours": {"from": "22:00", "to": "14:01"}}},
            "waiting_list.quiet_hours.to: must be at most 16 hours after from",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"quiet_hours": {"from": "22:60", "to": "07:00"}}},
            "waiting_list.quiet_hours.from: must be a time of day such as 08:30, not '22:60'",
        ),
        (
            {**LIST_FIRST, "waiting_list": {"quiet_hours": {"from": "22:00"}}},
            "waiting_list.quiet_hours.to: is missing",
        ),
        ({"rooms": {"mars": {"am": 3}}}, "rooms.mars: 'mars' is not a venue of this exam"),
        (
            {"rooms": {"jinan": {"night": 3}}},
            "rooms.jinan.night: 'night' is not a session of this exam",
        ),
        ({"rooms": {"jinan": {"am": -1}}}, "rooms.jinan.am: must be a whole number from 0 to "),
        ({"rooms": {"jinan": 300}}, "rooms.jinan: must be a table, not 300"),
        (release(id="Evening"), "releases[0].id: must be 1 to 32 of a-z"),
        (release(at="20:00"), "releases[0].at: must be an RFC 3339 date and time"),
        (
            release(announce="all"),
            "releases[0].announce: must be one of time, time-and-venues, everything, nothing",
        ),
        (release(seats={}), "releases[0].seats: must give the seats of at least one venue"),
        (release(seats={"jinan": {}}), "releases[0].seats: must give the seats of at least one"),
        (
            release(seats={"jinan": {"qms": 0}}),
            "releases[0].seats.jinan.qms: must be a whole number from 1 to 1000000, not 0",
        ),
        (
            release(seats={"jinan": {"qms": -5}}),
            "releases[0].seats.jinan.qms: must be a whole number from 1 to 1000000, not -5",
        ),
        (
            release(seats={"mars": {"qms": 1}}),
            "releases[0].seats.mars: 'mars' is not a venue of this exam",
        ),
        (
            release(seats={"jinan": {"ems": 1}}),
            "releases[0].seats.jinan.ems: 'ems' is not a subject of this exam",
        ),
        (
            release(seats={"hefei": {"qms": 1}}),
            "releases[0].seats.hefei.qms: hefei/qms is no quota of this exam: give it 0 seats",
        ),
        (
            release(seats={"jinan": {"qms": MAX_CAPACITY}}),
            "releases[0].seats.jinan.qms: makes more than 1000000 seats of jinan/qms",
        ),
        (
            {"releases": [RELEASE, RELEASE]},
            "releases[1].id: 'evening' is already the id of releases[0]",
        ),
        (
            {"releases": [{**RELEASE, "id": f"r{i}"} for i in range(RELEASES_MAX + 1)]},
            f"releases: must have at most {RELEASES_MAX} entries, not {RELEASES_MAX + 1}",
        ),
        (set_aside(until="soon"), "set_asides[0].until: must be an RFC 3339 date and time"),
        (set_aside(title=""), "set_asides[0].title: must not be empty"),
        (
            set_aside(seats={"jinan": {"qms": 6}}),
            "set_asides[0].seats.jinan.qms: 6 seats are set aside of jinan/qms, which has 5",
        ),
        (
            {"set_asides": [SET_ASIDE, {**SET_ASIDE, "id": "b", "seats": {"jinan": {"qms": 1}}}]},
            "set_asides[1].seats.jinan.qms: 6 seats are set aside of jinan/qms, which has 5",
        ),
        (
            {"set_asides": [SET_ASIDE, SET_ASIDE]},
            "set_asides[1].id: 'teachers' is already the id of set_asides[0]",
        ),
        (
            {"set_asides": [{**SET_ASIDE, "id": f"s{i}"} for i in range(SET_ASIDES_MAX + 1)]},
            f"set_asides: must have at most {SET_ASIDES_MAX} entries, not {SET_ASIDES_MAX + 1}",
        ),
    ],
    ids=shortly,
)
def test_what_is_wrong_is_named_with_its_value(members: Document, problem: str) -> None:
    (found,) = problems_of({**document(), **members})

    assert str(found).startswith(problem)


def test_every_rule_that_comes_goes_or_changes_is_a_change() -> None:
    before, after = parsed(), parsed(**ALL)
    moved = parsed(
        **{
            **ALL,
            **release(at="2023-03-14T21:00:00+08:00", seats={"jinan": {"qms": 60}}),
            "returned": {"rule": "at-times", "times": ["10:00", "17:00"]},
        }
    )

    come, gone, changed = (
        [str(change) for change in plan_changes(*pair, {}).changes]
        for pair in ((before, after), (after, before), (after, moved))
    )

    assert come == [
        "returned.rule: none → at-times",
        "returned.times: none → 10:00, 16:00",
        "waiting_list.offer_ttl_s: none → 3600",
        "waiting_list.order: none → draw",
        "waiting_list.length_max: none → 50",
        "waiting_list.quiet_hours.from: none → 22:00",
        "waiting_list.quiet_hours.to: none → 07:00",
        "rooms.jinan.am: none → 300",
        "rooms.jinan.pm: none → 0",
        "releases.evening: none → 51 seats at 2023-03-14T12:00:00.000Z",
        "set_asides.teachers: none → Teachers",
    ]
    assert len(gone) == len(come)
    assert changed == [
        "returned.times: 10:00, 16:00 → 10:00, 17:00",
        "releases.evening.at: 2023-03-14T12:00:00.000Z → 2023-03-14T13:00:00.000Z",
        "releases.evening.seats.hefei.general: 1 → none",
        "releases.evening.seats.jinan.qms: 50 → 60",
    ]


def test_a_ceiling_is_not_set_below_what_is_taken_in_its_session() -> None:
    before, after = parsed(), parsed(rooms={"jinan": {"am": 2, "pm": 2}})
    taken = {Quota("jinan", "general"): 3, Quota("jinan", "qms"): 2}

    problems = plan_changes(before, after, taken).problems
    stands = plan_changes(after, replace(after, time_zone="UTC"), taken).problems

    assert list(map(str, problems)) == ["rooms.jinan.am: cannot be 2 while 3 seats are taken"]
    assert stands == ()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        (
            release(at="2023-03-22T12:00:00"),
            (
                "releases.evening.at: 2023-03-22T04:00:00.000Z is not before registration closes "
                "(2023-03-22T04:00:00.000Z)"
            ),
        ),
        (
            set_aside(until="2023-05-20T14:00:01"),
            (
                "set_asides.teachers.until: 2023-05-20T06:00:01.000Z is after session pm begins "
                "(2023-05-20T06:00:00.000Z)"
            ),
        ),
        (
            set_aside(until="2023-03-14T12:00:00"),
            (
                "set_asides.teachers.until: 2023-03-14T04:00:00.000Z is not after registration "
                "opens (2023-03-14T04:00:00.000Z): nobody could reserve them"
            ),
        ),
    ],
)
def test_times_that_make_no_sense_in_the_exam_are_contradictions(
    members: Document, problem: str
) -> None:
    assert list(map(str, contradictions(parsed(**members)))) == [problem]


def test_a_release_after_a_sitting_of_its_subjects_has_begun_is_a_contradiction() -> None:
    late = {"opens_at": "2023-03-14T12:00:00", "closes_at": "2023-05-22T12:00:00"}
    exam = parsed(registration=late, **release(at="2023-05-20T09:00:00"))

    (problem,) = contradictions(exam)

    begins = "is not before session am begins (2023-05-20T01:00:00.000Z)"
    assert str(problem) == f"releases.evening.at: 2023-05-20T01:00:00.000Z {begins}"


def test_a_release_before_registration_opens_and_all_that_is_in_time_are_none() -> None:
    assert contradictions(parsed(**release(at="2023-01-01T00:00:00"))) == []
    assert contradictions(parsed(**ALL)) == warnings(parsed(**ALL)) == []


def test_a_set_aside_until_registration_is_closed_is_a_warning() -> None:
    (warning,) = warnings(parsed(**set_aside(until="2023-03-22T12:00:00")))

    assert warning.where == "set_asides.teachers.until"


def test_the_public_document_has_of_releases_what_is_announced_and_no_set_asides() -> None:
    announced = ["nothing", "everything", "time-and-venues", "time"]
    releases = [
        {**RELEASE, "id": f"{n}-{announce}", "announce": announce}
        for n, announce in enumerate(announced)
    ]
    at = "2023-03-14T12:00:00.000Z"

    defined = parsed(**{**ALL, "releases": releases})
    public = tuple(each for each in defined.releases if each.announce is not Announce.NOTHING)
    shown = exam_json(replace(defined, announced=public))

    assert shown["releases"] == [
        {
            "id": "1-everything",
            "at": at,
            "venues": ["hefei", "jinan"],
            "seats": {"hefei": {"general": 1}, "jinan": {"qms": 50}},
        },
        {"id": "2-time-and-venues", "at": at, "venues": ["hefei", "jinan"]},
        {"id": "3-time", "at": at},
    ]
    assert shown.keys() & ALL.keys() == ALL.keys() - {"set_asides"}


def test_a_release_of_which_nothing_is_announced_leaves_no_trace_in_the_public_document() -> None:
    assert exam_json(parsed(**release(announce="nothing"))) == exam_json(parsed())


def test_the_template_without_its_signs_is_a_definition_with_all_of_it() -> None:
    text = template("exam-9", EPOCH.date())
    above, _, below = text.partition("\n# Without the leading `#`: returned")
    commented = below[below.index("# [") :].partition("\n\n#")[0]
    plain = "\n".join(line.removeprefix("# ") for line in commented.splitlines())

    exam = parse_exam(tomllib.loads(f"{above}\n{plain}\n"))

    assert exam_document(exam).keys() >= ALL.keys()
    assert contradictions(exam) == []
