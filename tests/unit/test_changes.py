from collections.abc import Mapping
from dataclasses import replace

import pytest

from quota_service.domain.changes import ABSENT, Change, ChangePlan, list_problems, plan_changes
from quota_service.domain.definition import Problem
from quota_service.domain.exam import (
    Exam,
    Fee,
    HoldRules,
    ListOrder,
    Notice,
    Quota,
    Session,
    Subject,
    Text,
    Venue,
    WaitingListRules,
    Window,
)


def text(zh: str, en: str) -> Text:
    return Text.of({"zh": zh, "en": en})


HOUR_MS = 3_600_000
JINAN_GENERAL = Quota("jinan", "general")
JINAN_QMS = Quota("jinan", "qms")
HEFEI_QMS = Quota("hefei", "qms")
NOTHING_TAKEN: Mapping[Quota, int] = {}

MORNING = Session("am", text("上午", "Morning"), 10 * HOUR_MS, 12 * HOUR_MS)
AFTERNOON = Session("pm", text("下午", "Afternoon"), 14 * HOUR_MS, 16 * HOUR_MS)
GENERAL = Subject("general", text("基础", "General"), "am")
QMS = Subject("qms", text("质量", "QMS"), "pm")
JINAN = Venue("jinan", text("济南", "Jinan"))
HEFEI = Venue("hefei", text("合肥", "Hefei"))

EXAM = Exam(
    id="spring",
    title=text("春季考试", "Spring exam"),
    time_zone="Asia/Shanghai",
    registration=Window(1 * HOUR_MS, 2 * HOUR_MS),
    refund=Window(1 * HOUR_MS, 2 * HOUR_MS),
    hold=HoldRules(900, 600, 5),
    fee=Fee(8000, "CNY"),
    notice=Notice("v1", text("须知", "Notice")),
    sessions=(MORNING, AFTERNOON),
    subjects=(GENERAL, QMS),
    venues=(JINAN, HEFEI),
    seats={JINAN_GENERAL: 10, JINAN_QMS: 5, HEFEI_QMS: 3},
)


def with_seats(**changed: int) -> Exam:
    """Return the exam with other seats for the quotas named `venue_subject`."""
    seats = {Quota(*name.split("_")): count for name, count in changed.items()}
    return replace(EXAM, seats={**EXAM.seats, **seats})


def problems_of(plan: ChangePlan) -> list[str]:
    return [problem.where for problem in plan.problems]


def changes_of(plan: ChangePlan) -> list[str]:
    return [str(change) for change in plan.changes]


def test_the_same_exam_again_changes_nothing() -> None:
    again = replace(EXAM, seats=dict(reversed(list(EXAM.seats.items()))))

    plan = plan_changes(EXAM, again, {JINAN_QMS: 5})

    assert plan == ChangePlan((), {}, ())


def test_the_same_exam_again_is_no_refusal_even_where_too_much_is_taken() -> None:
    assert plan_changes(EXAM, EXAM, {JINAN_QMS: 99}) == ChangePlan((), {}, ())


def test_titles_windows_times_notice_and_hold_rules_change_while_seats_are_taken() -> None:
    new = replace(
        EXAM,
        title=text("春季考试", "Spring exam 2023"),
        registration=Window(1 * HOUR_MS, 3 * HOUR_MS),
        hold=HoldRules(1200, 600, 5),
        notice=Notice("v2", text("须知", "Notice")),
        sessions=(MORNING, replace(AFTERNOON, ends_at_ms=17 * HOUR_MS)),
    )

    plan = plan_changes(EXAM, new, {JINAN_GENERAL: 10, JINAN_QMS: 5})

    assert changes_of(plan) == [
        "title.en: Spring exam → Spring exam 2023",
        "registration.closes_at: 1970-01-01T02:00:00.000Z → 1970-01-01T03:00:00.000Z",
        "hold.ttl_s: 900 → 1200",
        "notice.version: v1 → v2",
        "sessions.pm.ends_at: 1970-01-01T16:00:00.000Z → 1970-01-01T17:00:00.000Z",
    ]
    assert plan.capacity == {}
    assert plan.problems == ()


def test_more_seats_and_fewer_down_to_what_is_taken_are_safe() -> None:
    plan = plan_changes(EXAM, with_seats(jinan_general=20, jinan_qms=4), {JINAN_QMS: 4})

    assert changes_of(plan) == ["seats.jinan.general: 10 → 20", "seats.jinan.qms: 5 → 4"]
    assert plan.capacity == {JINAN_GENERAL: 20, JINAN_QMS: 4}
    assert plan.problems == ()


def test_a_capacity_below_what_is_taken_is_refused_and_nothing_else_is_applied() -> None:
    plan = plan_changes(EXAM, with_seats(jinan_general=20, jinan_qms=3), {JINAN_QMS: 4})

    assert plan.problems == (Problem("seats.jinan.qms", "cannot be 3 while 4 seats are taken"),)
    assert plan.capacity == {}


def test_a_waiting_list_keeps_its_order_while_somebody_waits() -> None:
    listed = replace(EXAM, waiting_list=WaitingListRules(3600))
    drawn = replace(EXAM, waiting_list=WaitingListRules(3600, ListOrder.DRAW))
    longer = replace(EXAM, waiting_list=WaitingListRules(7200))

    def told(old: Exam, new: Exam, waiting: int) -> list[str]:
        return [str(problem) for problem in list_problems(old, new, waiting)]

    assert told(listed, drawn, 2) == [
        "waiting_list.order: cannot change from number to draw while 2 entries wait"
    ]
    assert told(listed, longer, 2) == told(EXAM, listed, 0) == told(listed, drawn, 0) == []


def test_everything_new_is_safe() -> None:
    new = replace(
        EXAM,
        sessions=(*EXAM.sessions, Session("eve", text("晚上", "Evening"), 1, 2)),
        subjects=(*EXAM.subjects, Subject("ems", text("环境", "EMS"), "eve")),
        venues=(Venue("wuhan", text("武汉", "Wuhan")), *EXAM.venues),
        seats={**EXAM.seats, Quota("wuhan", "ems"): 0, Quota("jinan", "ems"): 7},
    )

    plan = plan_changes(EXAM, new, {JINAN_GENERAL: 10})

    assert changes_of(plan) == [
        "sessions.eve: none → 晚上 / Evening",
        "subjects.ems: none → 环境 / EMS",
        "venues.wuhan: none → 武汉 / Wuhan",
        "seats.jinan.ems: none → 7",
        "seats.wuhan.ems: none → 0",
    ]
    assert plan.capacity == {Quota("jinan", "ems"): 7, Quota("wuhan", "ems"): 0}
    assert plan.problems == ()


WITHOUT_HEFEI = replace(EXAM, venues=(JINAN,), seats={JINAN_GENERAL: 10, JINAN_QMS: 5})
WITHOUT_QMS = replace(EXAM, sessions=(MORNING,), subjects=(GENERAL,), seats={JINAN_GENERAL: 10})
WITHOUT_HEFEI_QMS = replace(EXAM, seats={JINAN_GENERAL: 10, JINAN_QMS: 5})


@pytest.mark.parametrize(
    ("new", "capacity"),
    [
        (WITHOUT_HEFEI, {HEFEI_QMS: 0}),
        (WITHOUT_QMS, {HEFEI_QMS: 0, JINAN_QMS: 0}),
        (WITHOUT_HEFEI_QMS, {HEFEI_QMS: 0}),
    ],
)
def test_what_nobody_took_can_go_and_its_capacity_becomes_nothing(
    new: Exam, capacity: Mapping[Quota, int]
) -> None:
    plan = plan_changes(EXAM, new, {JINAN_GENERAL: 10, HEFEI_QMS: 0})

    assert plan.problems == ()
    assert plan.capacity == capacity


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (WITHOUT_HEFEI, Problem("venues.hefei", "cannot be removed while 1 seat is taken")),
        (WITHOUT_QMS, Problem("subjects.qms", "cannot be removed while 1 seat is taken")),
        (WITHOUT_HEFEI_QMS, Problem("seats.hefei.qms", "cannot be removed while 1 seat is taken")),
    ],
)
def test_what_somebody_took_cannot_go(new: Exam, problem: Problem) -> None:
    plan = plan_changes(EXAM, new, {HEFEI_QMS: 1})

    assert plan.problems == (problem,)
    assert plan.capacity == {}


def test_a_subject_moves_to_another_session_only_while_nobody_took_it() -> None:
    new = replace(EXAM, subjects=(GENERAL, replace(QMS, session="am")))

    free = plan_changes(EXAM, new, {JINAN_GENERAL: 10})
    taken = plan_changes(EXAM, new, {JINAN_QMS: 2, HEFEI_QMS: 1})

    assert free.problems == ()
    assert free.changes == (Change("subjects.qms.session", "pm", "am"),)
    assert taken.problems == (
        Problem("subjects.qms.session", "cannot move from pm to am while 3 seats are taken"),
    )


def test_removing_a_session_under_a_taken_subject_is_refused_as_its_move() -> None:
    new = replace(EXAM, sessions=(MORNING,), subjects=(GENERAL, replace(QMS, session="am")))

    assert problems_of(plan_changes(EXAM, new, {JINAN_QMS: 1})) == ["subjects.qms.session"]


@pytest.mark.parametrize(
    ("fee", "where"), [(Fee(9000, "CNY"), "fee.amount"), (Fee(8000, "EUR"), "fee.currency")]
)
def test_the_fee_changes_only_while_nothing_at_all_is_taken(fee: Fee, where: str) -> None:
    new = replace(EXAM, fee=fee)

    assert plan_changes(EXAM, new, {JINAN_QMS: 0}).problems == ()
    assert problems_of(plan_changes(EXAM, new, {JINAN_QMS: 1})) == [where]


def test_another_id_is_another_exam() -> None:
    assert problems_of(plan_changes(EXAM, replace(EXAM, id="autumn"), NOTHING_TAKEN)) == ["id"]


def test_all_reasons_against_a_change_are_given_at_once() -> None:
    new = replace(
        EXAM,
        fee=Fee(9000, "CNY"),
        subjects=(replace(GENERAL, session="pm"), QMS),
        venues=(JINAN,),
        seats={JINAN_GENERAL: 1, JINAN_QMS: 5},
    )

    plan = plan_changes(EXAM, new, {JINAN_GENERAL: 2, JINAN_QMS: 5, HEFEI_QMS: 3})

    assert problems_of(plan) == [
        "fee.amount",
        "subjects.general.session",
        "venues.hefei",
        "seats.jinan.general",
    ]


def test_another_order_is_a_change_too() -> None:
    plan = plan_changes(EXAM, replace(EXAM, venues=(HEFEI, JINAN)), {JINAN_QMS: 5})

    assert plan == ChangePlan((Change("venues", "jinan, hefei", "hefei, jinan"),), {}, ())


def test_a_long_text_is_shown_from_shortly_before_what_differs() -> None:
    before = replace(EXAM, notice=Notice("v1", text("须知", "a\n" * 500 + "old" + "z" * 500)))
    after = replace(EXAM, notice=Notice("v1", text("须知", "a\n" * 500 + "new" + "z" * 500)))

    (change,) = plan_changes(before, after, NOTHING_TAKEN).changes

    assert change == Change(
        "notice.text.en",
        "…" + r"a\n" * 10 + "old" + "z" * 37 + "…",
        "…" + r"a\n" * 10 + "new" + "z" * 37 + "…",
    )


def test_a_text_that_comes_in_another_language_or_in_none_is_a_change() -> None:
    plain = Text.of({"": "Spring exam"})
    in_french = replace(EXAM, title=Text.of({"zh": "春季考试", "fr": "Examen"}))

    added = plan_changes(EXAM, in_french, NOTHING_TAKEN).changes
    to_plain = plan_changes(EXAM, replace(EXAM, title=plain), NOTHING_TAKEN).changes
    of_plain = plan_changes(
        replace(EXAM, title=plain), replace(EXAM, title=Text.of({"": "Exam"})), NOTHING_TAKEN
    ).changes

    assert added == (
        Change("title.en", "Spring exam", ABSENT),
        Change("title.fr", ABSENT, "Examen"),
    )
    assert to_plain == (Change("title", "春季考试 / Spring exam", "Spring exam"),)
    assert of_plain == (Change("title", "Spring exam", "Exam"),)
