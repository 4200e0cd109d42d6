"""Definitions that Hypothesis makes up: each comes back whole, or is refused in words."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import LATEST_MS, DefinitionError, exam_document
from quota_service.domain.exam import (
    MAX_CAPACITY,
    Announce,
    Exam,
    Fee,
    HoldRules,
    ListOrder,
    Notice,
    QuietHours,
    Quota,
    ReturnedSeats,
    ReturnRule,
    SeatRelease,
    Session,
    SetAside,
    Subject,
    Text,
    Venue,
    WaitingListRules,
    WaitingRoomRules,
    Window,
)
from tests.support.definitions import document, spoil

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


def _quiet_hours(starts: int, minutes: int) -> QuietHours:
    """Return quiet hours from a minute of the day on, for so many minutes."""
    begins, ends = divmod(starts, 60), divmod((starts + minutes) % (24 * 60), 60)
    return QuietHours(f"{begins[0]:02}:{begins[1]:02}", f"{ends[0]:02}:{ends[1]:02}")


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


clocks = st.from_regex(r"([01][0-9]|2[0-3]):[0-5][0-9]", fullmatch=True)
returns = st.sampled_from(
    [
        ReturnedSeats(ReturnRule.LIST_FIRST),
        ReturnedSeats(ReturnRule.AT_TIMES, ("08:00", "23:59")),
    ]
)
waiting_lists = st.builds(
    WaitingListRules,
    offer_ttl_s=st.integers(60, 86_400),
    order=st.sampled_from(ListOrder),
    quiet_hours=st.none()
    | st.builds(_quiet_hours, st.integers(0, 24 * 60 - 1), st.integers(1, 16 * 60)),
    length_max=st.integers(1, 1000),
)


@st.composite
def allocating(draw: st.DrawFn) -> Exam:
    """Return an exam that gives seats out beside open sale too."""
    exam = draw(exams())
    quotas = sorted(exam.seats)
    most = {quota: min(seats, MAX_CAPACITY - 20) for quota, seats in exam.seats.items()}
    more = st.dictionaries(st.sampled_from(quotas), st.integers(1, 10), min_size=1)
    ids = draw(st.lists(identifiers, max_size=2, unique=True))
    kept = {quota: seats for quota, seats in most.items() if seats}
    rooms = st.tuples(st.sampled_from(exam.venues), st.sampled_from(exam.sessions))
    return replace(
        exam,
        seats=most,
        returned=draw(returns),
        waiting_list=draw(st.none() | waiting_lists),
        releases=tuple(
            SeatRelease(i, draw(moments), draw(st.sampled_from(Announce)), draw(more)) for i in ids
        ),
        set_asides=(SetAside("kept", draw(titles), draw(moments), kept),) if kept else (),
        ceilings={
            (venue.id, session.id): draw(st.integers(0, 1000))
            for venue, session in draw(st.lists(rooms, max_size=2))
        },
    )


@settings(max_examples=50)
@given(exams() | allocating())
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
